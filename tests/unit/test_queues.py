"""Who runs when: fairness inside a queue, turns between queues, and jobs that may not run yet."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest

from emailsync.domain.accounts import ProviderType
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority, QueueName
from emailsync.scheduling.limits import Limit, LimitKind, Limits
from emailsync.simulation.virtual_time import START, run_virtually
from jobs import job_of, key_of
from worker_floor import Floor, settings_of


@pytest.mark.parametrize("workers", [1, 3, 5])
@pytest.mark.parametrize("already_running_s", [0, 1.5])
@pytest.mark.parametrize("stagger_s", [0, 0.1])
def test_a_single_account_is_served_after_at_most_two_of_ten_that_came_before_it(
    workers: int, already_running_s: float, stagger_s: float
) -> None:
    async def main() -> None:
        floor = Floor(settings_of({"high": {"concurrency": workers}}, {"imap": {"per_tenant": 1}}))
        ten = [job_of("many", number) for number in range(10)]

        async with floor.working():
            floor.queues.put_all(ten, stagger_s=stagger_s)
            await anyio.sleep(already_running_s)
            before = len(floor.started)
            floor.queues.put(job_of("single"))
            await anyio.sleep(5)

        assert floor.order()[before:].index("single") <= 2

    run_virtually(main())


def test_a_single_account_claimed_with_ten_others_is_served_after_at_most_two_of_them() -> None:
    """Also when the jobs are shorter than the stagger, which follows the turns too."""

    async def main() -> None:
        floor = Floor(settings_of())
        floor.seconds_of = lambda _job: 0.01
        ten = [job_of("many", number) for number in range(10)]
        floor.queues.put_all([*ten, job_of("single")], stagger_s=0.1)

        await floor.run(5)

        assert floor.order().index("single") <= 2

    run_virtually(main())


def test_a_tenant_of_twice_the_weight_gets_twice_the_turns() -> None:
    async def main() -> None:
        floor = Floor(settings_of({"high": {"concurrency": 1}}))
        floor.queues.put_all([job_of("heavy", number, weight=2) for number in range(100)])
        floor.queues.put_all([job_of("light", number, weight=1) for number in range(100)])

        await floor.run(89.5)

        turns = Counter(floor.order())
        assert turns["heavy"] == pytest.approx(60, abs=1)
        assert turns["light"] == pytest.approx(30, abs=1)

    run_virtually(main())


def test_a_batch_becomes_available_one_job_every_stagger() -> None:
    async def main() -> None:
        floor = Floor(settings_of())
        floor.queues.put_all([job_of(f"t{number}") for number in range(5)], stagger_s=0.1)

        await floor.run(2)

        assert floor.started_at == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])

    run_virtually(main())


def test_an_account_has_at_most_one_open_job() -> None:
    async def main() -> None:
        floor = Floor(settings_of())
        first, second = job_of("a", epoch=1), job_of("a", epoch=2)

        assert floor.queues.put(first)
        assert not floor.queues.put(second)
        async with floor.working():
            await anyio.sleep(0.5)
            assert floor.queues.running() == 1
            assert floor.queues.put_all([second]) == [second]
            await anyio.sleep(1)
            assert floor.queues.put(second)

    run_virtually(main())


def test_low_moves_while_high_always_has_work_for_the_same_provider_type() -> None:
    async def main() -> None:
        floor = Floor(settings_of(limits={"imap": {"concurrent": 3}}))
        numbers = iter(range(100_000))

        def refill(done: SyncJob) -> None:
            number = next(numbers)
            floor.queues.put(job_of(f"{done.queue}{number}", priority=done.priority))

        floor.when_done = refill
        for number in range(60):
            for priority in (Priority.HIGH, Priority.NORMAL, Priority.LOW):
                floor.queues.put(job_of(f"{priority}-{number}", priority=priority))

        await floor.run(100.5)

        turns = Counter(job.queue for job in floor.started)
        assert sum(turns.values()) == pytest.approx(303)
        assert turns[QueueName.HIGH] == pytest.approx(150, abs=10)
        assert turns[QueueName.NORMAL] == pytest.approx(90, abs=10)
        assert turns[QueueName.LOW] == pytest.approx(60, abs=10)

    run_virtually(main())


def test_a_slot_of_a_type_is_not_kept_for_a_queue_whose_workers_are_busy_elsewhere() -> None:
    async def main() -> None:
        floor = Floor(settings_of(limits={"imap": {"concurrent": 1}}))
        floor.seconds_of = lambda job: 50 if job.provider_type is ProviderType.GOOGLE else 1
        for number in range(20):
            floor.queues.put(job_of(f"low{number}", priority=Priority.LOW))
            floor.queues.put(job_of(f"high{number}"))
            floor.queues.put(job_of(f"google{number}", provider_type=ProviderType.GOOGLE))

        await floor.run(45)

        low = [job for job in floor.started if job.queue is QueueName.LOW]
        assert len(low) == 20

    run_virtually(main())


def test_a_parked_job_of_a_busy_queue_keeps_its_place_before_later_tenants() -> None:
    """It must not starve behind endless jobs of another type either."""

    async def main() -> None:
        one = {"concurrency": 1}
        floor = Floor(settings_of({"high": one, "low": one}, {"imap": {"concurrent": 1}}))
        numbers = iter(range(1_000))

        def more_google_work(_done: SyncJob) -> None:
            kind = ProviderType.GOOGLE
            floor.queues.put(job_of(f"google{next(numbers)}", provider_type=kind))

        floor.when_done = more_google_work
        floor.seconds_of = lambda job: 2.2 if job.queue is QueueName.LOW else 1
        async with floor.working():
            floor.queues.put(job_of("low", priority=Priority.LOW))
            await anyio.sleep(0.5)
            floor.queues.put(job_of("parked"))
            await anyio.wait_all_tasks_blocked()
            for _ in range(5):
                more_google_work(job_of("nobody"))
            await anyio.sleep(3.5)

        assert floor.order()[:4] == ["low", "google0", "google1", "parked"]

    run_virtually(main())


def test_parked_jobs_hold_no_worker() -> None:
    async def main() -> None:
        floor = Floor(settings_of(limits={"imap": {"concurrent": 1}}))
        imap_at_once = Limit(LimitKind.TYPE, ProviderType.IMAP)
        floor.seconds_of = lambda job: 100 if job.provider_type is ProviderType.IMAP else 1
        floor.queues.put_all([job_of(f"imap{number}") for number in range(50)])
        floor.queues.put_all(
            [job_of(f"google{number}", provider_type=ProviderType.GOOGLE) for number in range(8)]
        )

        await floor.run(2.5)

        started = Counter(job.provider_type for job in floor.started)
        assert started == {ProviderType.IMAP: 1, ProviderType.GOOGLE: 8}
        assert floor.queues.waiting(QueueName.HIGH) == 49
        assert floor.queues.able(QueueName.HIGH) == 49  # it is not their tenants that they wait for
        assert floor.limits.free(imap_at_once) == 0

    run_virtually(main())


@contextmanager
def under_s(seconds: float) -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < seconds


@pytest.mark.parametrize("tenants", [1, 2_500, 5_000])
def test_five_thousand_parked_jobs_are_each_looked_at_a_few_times_only(
    tenants: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    try_admit = Limits.try_admit

    async def counted(self: Limits, *args: Any, **kwargs: Any) -> object:
        nonlocal looks
        looks += 1
        return await try_admit(self, *args, **kwargs)

    monkeypatch.setattr(Limits, "try_admit", counted)

    async def main() -> None:
        floor = Floor(settings_of(limits={"imap": {"concurrent": 3, "per_tenant": 1}}))
        for number in range(5_000):
            priority = list(Priority)[number % 4]
            floor.queues.put(job_of(f"t{number % tenants}", number, priority=priority))

        await floor.run(5_001)

        assert len(floor.started) == 5_000

    with under_s(20):
        run_virtually(main())
    assert looks < 4 * 5_000


def test_a_dropped_job_passes_its_slot_on() -> None:
    async def main() -> None:
        floor = Floor(settings_of(limits={"imap": {"concurrent": 1}}))
        for number in range(4):
            floor.queues.put(job_of(f"t{number}"))

        async with floor.working():
            await anyio.sleep(0.5)
            dropped = floor.queues.drop(key_of("t1"))
            await anyio.sleep(5)

        assert dropped == job_of("t1")
        assert floor.order() == ["t0", "t2", "t3"]

    run_virtually(main())


def test_a_slot_that_its_tenants_limit_forbids_goes_to_the_next_tenant_at_once() -> None:
    async def main() -> None:
        floor = Floor(settings_of(limits={"imap": {"concurrent": 2, "per_tenant": 1}}))
        floor.seconds_of = lambda job: 1 if job.key.tenant_id.startswith("first") else 100
        for tenant, number in (
            ("b", 9),
            ("first1", 0),
            ("first2", 0),
            ("a", 0),
            ("a", 1),
            ("b", 0),
        ):
            floor.queues.put(job_of(tenant, number, weight=1_000 if tenant == "a" else 1))
        floor.queues.drop(key_of("b", 9))  # now the other job of b comes after both of a

        await floor.run(50)

        assert floor.order() == ["first1", "first2", "a", "b"]

    run_virtually(main())


def test_giving_everything_up_returns_every_job_that_waits_wherever_it_is() -> None:
    async def main() -> None:
        floor = Floor(settings_of(limits={"imap": {"concurrent": 1}}))
        floor.queues.put_all([job_of(f"t{number}") for number in range(4)], stagger_s=0.4)

        async with floor.working():
            await anyio.sleep(0.9)
            given_up = floor.queues.drop_where(lambda _key: True)
            await anyio.sleep(5)

        assert [job.key.tenant_id for job in given_up] == ["t1", "t2", "t3"]
        assert floor.order() == ["t0"]

    run_virtually(main())


def test_the_lag_is_that_of_the_job_that_waits_the_longest() -> None:
    async def main() -> None:
        floor = Floor(settings_of())
        floor.queues.put(job_of("a", due_at=START - timedelta(seconds=90)), delay_s=100)
        floor.queues.put(job_of("b", due_at=START - timedelta(seconds=30)), delay_s=100)

        await anyio.sleep(10)

        assert floor.queues.lag_s()[Priority.HIGH] == pytest.approx(100)
        assert floor.queues.lag_s()[Priority.LOW] == 0

    run_virtually(main())


def test_what_was_asked_for_starts_before_all_that_waits_and_takes_nobodys_turn() -> None:
    async def main() -> None:
        floor = Floor(settings_of({"high": {"concurrency": 1}}))
        floor.queues.put_all([job_of(f"t{number}") for number in range(20)])

        async with floor.working():
            await anyio.sleep(0.5)
            floor.queues.put_all([job_of("asker", number, requested=True) for number in range(3)])
            await anyio.sleep(30)

        assert floor.order() == ["t0", *["asker"] * 3, *(f"t{number}" for number in range(1, 20))]

    run_virtually(main())


def test_an_asking_tenant_does_not_get_more_than_its_share_of_a_limit() -> None:
    async def main() -> None:
        floor = Floor(settings_of({"high": {"concurrency": 2}}, {"imap": {"per_tenant": 1}}))

        async with floor.working():
            floor.queues.put_all([job_of("asker", number, requested=True) for number in range(9)])
            floor.queues.put_all([job_of(f"t{number}") for number in range(9)])
            await anyio.sleep(4.5)

        assert Counter(name == "asker" for name in floor.order()) == {True: 5, False: 5}

    run_virtually(main())
