"""Whatever happens in whatever order, no limit is exceeded and no job is lost."""

from collections import Counter

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emailsync.config import Settings
from emailsync.domain.accounts import ProviderType
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority, QueueName
from emailsync.metrics import Metrics
from emailsync.scheduling.limits import Limits, Permit
from emailsync.scheduling.queues import QueueService
from emailsync.simulation.virtual_time import LoopClock, run_virtually
from jobs import job_of, key_of

TENANTS = ("a", "b", "c")
KINDS = (ProviderType.IMAP, ProviderType.GOOGLE)

numbers = st.integers(min_value=0, max_value=30)
tenants = st.sampled_from(TENANTS)
puts = st.tuples(
    st.just("put"), tenants, numbers, st.sampled_from(KINDS), st.sampled_from(Priority),
    st.sampled_from([0, 0, 0.05]),
)  # fmt: skip
drops = st.tuples(st.just("drop"), tenants, numbers)
passes = st.tuples(st.just("wait"), st.sampled_from([0.01, 0.1, 0.5]))
resizes = st.tuples(
    st.just("resize"), st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 3)
)
operations = st.lists(st.one_of(puts, puts, puts, drops, passes, resizes), max_size=80)


def limited(concurrent: int, per_tenant: int, pace: int) -> Settings:
    kind = {"concurrent": concurrent, "per_tenant": per_tenant, "interval_ms": 0}
    queue = {"limiter_max": pace, "attempts": 1, "backoff_ms": 0}
    return Settings.model_validate(
        {
            "limits": {
                "imap": {**kind, "connections_per_host": 4, "utilisation": 0.5},
                "google": kind,
            },
            "queues": {
                name: {**queue, "concurrency": workers}
                for name, workers in (("high", 4), ("normal", 2), ("low", 1))
            },
        }
    )


class Observed:
    """Runs jobs and looks, at each start, whether the limits in force allowed it."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.settings, self.instances = limited(2, 1, 5), 1
        self.limits = Limits(self.settings, self.clock)
        self.queues = QueueService(self.settings, self.limits, self.clock, Metrics())
        self.running: dict[SyncJob, Permit] = {}
        self.ended: list[SyncJob] = []
        self.starts: dict[QueueName, list[float]] = {queue: [] for queue in QueueName}
        self.fastest = 5

    async def work(self, queue: QueueName) -> None:
        while True:
            permit = await self.queues.next_runnable(queue)
            job = permit.job
            self.running[job] = permit
            self.starts[queue].append(self.clock.monotonic())
            self.check_start(job)
            await anyio.sleep(0.07 + 0.05 * (job.priority % 3))
            del self.running[job]
            self.ended.append(job)
            self.queues.done(permit)

    def check_start(self, job: SyncJob) -> None:
        kind = self.settings.limits.of(job.provider_type)
        of_type = [other for other in self.running if other.provider_type is job.provider_type]
        tenants = Counter(other.key.tenant_id for other in of_type)
        assert len({other.key for other in self.running}) == len(self.running)
        assert len(of_type) <= max(1, kind.concurrent // self.instances)
        assert tenants[job.key.tenant_id] <= kind.per_tenant
        if job.provider_type is ProviderType.IMAP:
            assert sum(other.endpoint == job.endpoint for other in of_type) <= 2

    def check_pace(self) -> None:
        """A leaky bucket: a burst, then the drain, whatever window one looks at."""
        for times in self.starts.values():
            for first, began in enumerate(times):
                for last in range(first, len(times)):
                    drained = (times[last] - began) * self.fastest
                    assert last - first + 1 <= self.fastest + drained + 1e-6

    async def resize(self, concurrent: int, per_tenant: int, pace: int, instances: int) -> None:
        self.settings, self.instances = limited(concurrent, per_tenant, pace), instances
        self.fastest = max(self.fastest, pace)
        await self.limits.resize(self.settings, instances=instances)
        self.queues.resize(self.settings)


async def play(script: list[tuple[object, ...]]) -> None:
    observed = Observed()
    accepted: list[SyncJob] = []
    dropped: list[SyncJob] = []
    async with anyio.create_task_group() as group:
        for queue in QueueName:
            for _ in range(observed.settings.queues.of(queue).concurrency):
                group.start_soon(observed.work, queue)
        for epoch, step in enumerate(script):
            match step:
                case (
                    "put",
                    str(tenant),
                    int(number),
                    ProviderType() as kind,
                    Priority() as at,
                    delay,
                ):
                    job = job_of(
                        tenant, number, provider_type=kind, priority=at, epoch=epoch,
                        endpoint="shared.example.test:993",
                    )  # fmt: skip
                    if observed.queues.put(job, delay_s=delay):
                        accepted.append(job)
                case ("drop", str(tenant), int(number)):
                    given_up = observed.queues.drop(key_of(tenant, number))
                    if given_up is not None:
                        dropped.append(given_up)
                case ("wait", float(seconds)):
                    await anyio.sleep(seconds)
                case ("resize", int(a), int(b), int(c), int(d)):
                    await observed.resize(a, b, c, d)
        await anyio.sleep(120)  # at the slowest: one job a second
        group.cancel_scope.cancel()

    assert Counter(accepted) == Counter(observed.ended) + Counter(dropped)
    assert observed.queues.running() == 0
    assert not observed.limits.in_use()
    observed.check_pace()


@settings(max_examples=150, deadline=None)
@given(operations)
def test_no_limit_is_ever_exceeded_and_no_job_is_ever_lost(
    script: list[tuple[object, ...]],
) -> None:
    run_virtually(play(script))


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_gets_through_narrow_limits(seed: int) -> None:
    """Long enough for every way back from a lot: by turn, to a busy queue, by time."""
    kinds, priorities = tuple(KINDS), tuple(Priority)
    script: list[tuple[object, ...]] = [
        ("put", TENANTS[(index * 7 + seed) % 3], index // 3, kinds[(index + seed) % 2],
         priorities[(index * 5 + seed) % 4], 0)
        for index in range(90)
    ]  # fmt: skip

    run_virtually(play(script))
