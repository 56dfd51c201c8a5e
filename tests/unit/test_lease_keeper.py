"""Leases are kept while jobs wait or run, and a job stops when its lease is no longer sure."""

import anyio

from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import QueueName
from emailsync.domain.runs import RunResult
from emailsync.ports import ClaimRequest
from emailsync.simulation.virtual_time import run_virtually
from emailsync.sync.progress import Progress
from jobs import job_of, key_of
from scheduling import Stage, settings_of

HIGH = ClaimRequest(queue=QueueName.HIGH, limit=50)


async def take_an_hour(_job: SyncJob, _progress: Progress) -> bool:
    await anyio.sleep(3_600)
    return False


def test_leases_of_waiting_and_running_jobs_outlive_their_first_term() -> None:
    async def main() -> None:
        stage = Stage(settings_of(queues={"high": {"concurrency": 1}}), sync=take_an_hour)
        stage.store.add(job_of("running"))
        stage.store.add(job_of("waiting"))

        async with stage.engine_running():
            await stage.engine.claim(HIGH)
            await anyio.sleep(600)

            assert stage.store.leased() == {key_of("running"), key_of("waiting")}
            assert stage.engine.queues.running() == 1

    run_virtually(main())


def test_a_lost_lease_cancels_the_job_that_runs_and_drops_the_one_that_waits() -> None:
    async def main() -> None:
        stage = Stage(settings_of(queues={"high": {"concurrency": 1}}), sync=take_an_hour)
        for tenant in ("running", "waiting", "kept"):
            stage.store.add(job_of(tenant))

        async with stage.engine_running():
            await stage.engine.claim(HIGH)
            await anyio.sleep(1)
            stage.store.take_away(key_of("running"))
            stage.store.take_away(key_of("waiting"))
            await anyio.sleep(16)  # a heartbeat

            assert stage.results() == [RunResult.LEASE_LOST]
            assert [job.key for job in stage.started] == [key_of("running"), key_of("kept")]
            assert stage.engine.queues.waiting(QueueName.HIGH) == 0
            assert stage.store.records[key_of("running")] == []

    run_virtually(main())


def test_jobs_stop_before_their_leases_end_when_the_store_does_not_answer() -> None:
    """Whether it fails or hangs: somebody else may start the account when the lease is over."""

    async def main(*, hangs: bool) -> None:
        stage = Stage(sync=take_an_hour)
        stage.store.add(job_of("a"))

        async with stage.engine_running():
            await stage.engine.claim(HIGH)
            await anyio.sleep(20)  # extended at 15 s, so the lease ends at 75 s
            if hangs:
                stage.store.answering = anyio.Event()
            stage.store.available = hangs
            await anyio.sleep(44)
            assert stage.engine.queues.running() == 1
            await anyio.sleep(3)

            assert stage.results() == [RunResult.LEASE_LOST]
            assert stage.clock.monotonic() < 75

    run_virtually(main(hangs=False))
    run_virtually(main(hangs=True))


def test_a_short_silence_of_the_store_stops_nobody() -> None:
    async def main() -> None:
        stage = Stage(sync=take_an_hour)
        stage.store.add(job_of("a"))

        async with stage.engine_running():
            await stage.engine.claim(HIGH)
            await anyio.sleep(1)
            stage.store.available = False
            await anyio.sleep(30)
            stage.store.available = True
            await anyio.sleep(300)

            assert stage.engine.queues.running() == 1
            assert stage.store.leased() == {key_of("a")}

    run_virtually(main())


def test_a_sync_that_ignores_the_loss_of_its_lease_stores_no_outcome() -> None:
    """Swallowing a cancellation is a bug; even then the account belongs to its new holder."""

    async def stubborn(_job: SyncJob, _progress: Progress) -> bool:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(120)
        return False

    async def main() -> None:
        stage = Stage(sync=stubborn)
        stage.store.add(job_of("a"))

        async with stage.engine_running():
            await stage.engine.claim(HIGH)
            await anyio.sleep(1)
            stage.store.take_away(key_of("a"))
            await anyio.sleep(200)

            assert stage.results() == [RunResult.LEASE_LOST]
            assert stage.store.records[key_of("a")] == []

    run_virtually(main())


def test_live_daemons_share_the_limits_of_a_provider_type() -> None:
    async def main() -> None:
        settings = settings_of(limits={"imap": {"concurrent": 4}}, email_sync={"stagger_ms": 0})
        stage = Stage(settings, sync=take_an_hour)
        stage.store.instances = {"there": stage.clock.now().replace(year=2100)}
        for number in range(5):
            stage.store.add(job_of(f"t{number}"))

        async with stage.engine_running():
            await stage.engine.claim(HIGH)
            await anyio.sleep(1)
            together = stage.engine.queues.running(), stage.settings.instances
            stage.store.instances.clear()
            await anyio.sleep(15)
            alone = stage.engine.queues.running(), stage.settings.instances

        assert (together, alone) == ((2, 2), (4, 1))

    run_virtually(main())


def test_a_daemon_that_ends_is_no_longer_counted() -> None:
    """Whether it was stopped or cancelled: the next one has all of the limits at once."""

    async def main(*, cancelled: bool) -> None:
        stage = Stage()

        async with stage.engine_running():
            announced = set(stage.store.instances)
            if not cancelled:
                await stage.engine.stop(grace_s=1)

        assert announced == {"here"}
        assert stage.store.instances == {}

    run_virtually(main(cancelled=False))
    run_virtually(main(cancelled=True))


def test_a_daemon_ends_soon_whether_or_not_the_store_hears_of_it() -> None:
    async def main(*, hangs: bool) -> None:
        stage = Stage()

        async with stage.engine_running():
            if hangs:
                stage.store.answering = anyio.Event()
            stage.store.available = hangs
            ending_s = stage.clock.monotonic()

        assert stage.clock.monotonic() - ending_s <= 1
        assert set(stage.store.instances) == {"here"}

    run_virtually(main(hangs=False))
    run_virtually(main(hangs=True))
