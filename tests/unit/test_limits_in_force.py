"""What the limits let through, and what a change of them does to jobs that run or wait."""

from datetime import timedelta

import anyio
import pytest

from emailsync.simulation.virtual_time import START, run_virtually
from jobs import job_of
from worker_floor import Floor, settings_of


def test_an_account_rests_between_two_completed_syncs_but_not_between_slices() -> None:
    async def main() -> None:
        floor = Floor(settings_of(limits={"imap": {"interval_ms": 5_000}}))
        floor.queues.put(job_of("rested", last_synced_at=START - timedelta(seconds=5)))
        floor.queues.put(job_of("tired", last_synced_at=START - timedelta(seconds=2)))
        floor.queues.put(job_of("new", last_synced_at=None))

        await floor.run(10)

        at = dict(zip(floor.order(), floor.started_at, strict=True))
        assert at == pytest.approx({"rested": 0, "new": 0, "tired": 3})

    run_virtually(main())


def test_a_clock_that_is_a_day_behind_the_databases_holds_nobody_back() -> None:
    async def main() -> None:
        floor = Floor(settings_of(limits={"imap": {"interval_ms": 5_000}}))
        floor.queues.put(job_of("future", last_synced_at=START + timedelta(days=1)))

        async with floor.working():
            await anyio.sleep(0.5)

        assert floor.order() == ["future"]

    run_virtually(main())


def test_a_queue_starts_no_more_jobs_than_its_pace_allows() -> None:
    async def main() -> None:
        floor = Floor(settings_of({"high": {"limiter_max": 10, "concurrency": 50}}))
        floor.queues.put_all([job_of(f"t{number}") for number in range(50)])

        await floor.run(3.95)

        assert sum(at == 0 for at in floor.started_at) == 10
        assert len(floor.started) in {48, 49}

    run_virtually(main())


def test_an_endpoint_takes_half_of_the_connections_that_its_host_allows() -> None:
    async def main() -> None:
        settings = settings_of(
            {"high": {"concurrency": 50}},
            {"imap": {"connections_per_host": 8, "utilisation": 0.5}},
        )
        floor = Floor(settings)
        for number in range(20):
            floor.queues.put(job_of(f"t{number}", endpoint="one.example.test:993"))
        floor.queues.put(job_of("other", endpoint="two.example.test:993"))

        await floor.run(0.5)

        assert len(floor.started) == 5
        assert "other" in floor.order()

    run_virtually(main())


def test_daemons_on_one_database_share_the_limit_of_a_type() -> None:
    async def main() -> None:
        settings = settings_of(limits={"imap": {"concurrent": 5}})
        floor = Floor(settings)
        for number in range(20):
            floor.queues.put(job_of(f"t{number}"))

        await floor.resize(settings, instances=3)
        await floor.run(0.5)

        assert len(floor.started) == 1  # three times two would be more than five

    run_virtually(main())


def test_limits_grow_and_shrink_while_jobs_run_and_none_is_lost() -> None:
    async def main() -> None:
        narrow = settings_of(limits={"imap": {"concurrent": 1}})
        wide = settings_of(limits={"imap": {"concurrent": 4}})
        floor = Floor(narrow)
        for number in range(15):
            floor.queues.put(job_of(f"t{number}"))
        at_once: list[int] = []

        async def watch_and_resize() -> None:
            for settings in (wide, narrow):
                await anyio.sleep(1.5)
                await floor.resize(settings)
                await anyio.sleep(0.1)
                at_once.append(floor.queues.running())
            await anyio.sleep(1.2)
            at_once.append(floor.queues.running())

        async with anyio.create_task_group() as group:
            group.start_soon(watch_and_resize)
            await floor.run(30)

        assert at_once == [4, 4, 1]  # a lowered limit lets those finish who run
        assert len(floor.started) == 15

    run_virtually(main())


def test_a_new_pace_does_not_allow_a_second_burst() -> None:
    async def main() -> None:
        floor = Floor(settings_of({"high": {"limiter_max": 10, "concurrency": 50}}))
        floor.queues.put_all([job_of(f"t{number}") for number in range(40)])
        faster = settings_of({"high": {"limiter_max": 20, "concurrency": 50}})

        async with anyio.create_task_group() as group:
            group.start_soon(floor.run, 0.99)
            await anyio.sleep(0.05)
            await floor.resize(faster)

        assert sum(at < 0.06 for at in floor.started_at) <= 20
        assert len(floor.started) > 30

    run_virtually(main())
