"""Who runs when: fairness inside a queue, turns between queues, and jobs that may not run yet."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import anyio
import pytest

from emailsync.config import Settings
from emailsync.domain.accounts import ProviderType
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority, QueueName
from emailsync.metrics import Metrics
from emailsync.scheduling.limits import Limit, LimitKind, Limits
from emailsync.scheduling.queues import QueueService
from emailsync.simulation.virtual_time import START, LoopClock, run_virtually
from jobs import job_of, key_of

UNHURRIED = {"limiter_max": 10_000, "attempts": 1, "backoff_ms": 0}
WIDE = {"concurrent": 10_000, "per_tenant": 10_000, "interval_ms": 0}


def settings_of(
    queues: Mapping[str, Mapping[str, Any]] | None = None,
    limits: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Settings that limit nothing but what the test names."""
    return Settings.model_validate(
        {
            "queues": {
                queue: {"concurrency": workers, **UNHURRIED, **(queues or {}).get(queue, {})}
                for queue, workers in (("high", 5), ("normal", 3), ("low", 2))
            },
            "limits": {
                kind: {**WIDE, **(limits or {}).get(kind, {})}
                for kind in ("imap", "google", "microsoft")
            },
        }
    )


@dataclass
class Floor:
    """Workers that do nothing but take time."""

    settings: Settings
    clock: LoopClock = field(default_factory=LoopClock)
    started: list[SyncJob] = field(default_factory=list)
    started_at: list[float] = field(default_factory=list)
    seconds_of: Callable[[SyncJob], float] = lambda _job: 1.0
    when_done: Callable[[SyncJob], None] = lambda _job: None

    def __post_init__(self) -> None:
        self.limits = Limits(self.settings, self.clock)
        self.queues = QueueService(self.settings, self.limits, self.clock, Metrics())

    async def resize(self, settings: Settings, *, instances: int = 1) -> None:
        await self.limits.resize(settings, instances=instances)
        self.queues.resize(settings)

    async def work(self, queue: QueueName) -> None:
        while True:
            permit = await self.queues.next_runnable(queue)
            self.started.append(permit.job)
            self.started_at.append(self.clock.monotonic())
            await anyio.sleep(self.seconds_of(permit.job))
            self.queues.done(permit)
            self.when_done(permit.job)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            for queue in QueueName:
                for _ in range(self.settings.queues.of(queue).concurrency):
                    group.start_soon(self.work, queue)
            yield
            group.cancel_scope.cancel()

    async def run(self, seconds: float) -> None:
        async with self.working():
            await anyio.sleep(seconds)

    def order(self) -> list[str]:
        return [job.key.tenant_id for job in self.started]


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
