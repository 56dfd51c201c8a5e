"""A simulation: the real scheduler, queues, limits, leases and workers, in virtual time.

Only three things are not real: the clock, the database and what a sync does, which is to take a
drawn time. So what comes out is what the settings let through, not how fast any machine is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import log
from random import Random
from typing import Final

import anyio

from emailsync.config import LiveSettings, Settings
from emailsync.domain.accounts import AccountKey
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority
from emailsync.domain.runs import RunRecord, RunResult
from emailsync.metrics import Metrics
from emailsync.scheduling.engine import SyncEngine
from emailsync.scheduling.scheduler import SyncSchedulerService
from emailsync.scheduling.ticks import cron
from emailsync.simulation.claim_order import LeasedAccount
from emailsync.simulation.lease_store import MemoryLeaseStore
from emailsync.simulation.meter import Measured, Meter
from emailsync.simulation.population import Crowd, due_at_once
from emailsync.simulation.virtual_time import LoopClock, run_virtually
from emailsync.sync.progress import Progress

SPREAD: Final = 0.5  #: sigma of the log-normal durations: the 95th percentile is 2.3 medians


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is simulated.

    Attributes:
        crowd: whose mailboxes.
        sync_s: the median of how long a sync takes.
        patience: after which a cycle that has not ended is given up.
        after: how long to go on once everybody was synced.
        seed: of every draw; the same plan and settings give the same report.
    """

    crowd: Crowd
    sync_s: float
    patience: timedelta = timedelta(hours=6)
    after: timedelta = timedelta()
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came out."""

    accounts: int
    never_synced: Mapping[Priority, int]  #: accounts that the cycle had not reached when given up
    wanted_per_s: float  #: syncs that the intervals ask for, once the first cycle is over
    cycle: Measured  #: until everybody was synced once
    after: Measured | None  #: from then on
    overdue: int  #: accounts that were due at the end, and waited
    longest_overdue_s: float


def simulate(settings: Settings, plan: Plan) -> Report:
    """Run the plan to its end."""
    return run_virtually(_simulate(settings, plan))


async def _simulate(settings: Settings, plan: Plan) -> Report:
    simulation = Simulation(settings, plan)
    async with anyio.create_task_group() as group:
        await group.start(simulation.engine.run, name="engine")
        await group.start(simulation.scheduler.run, name="claims")
        group.start_soon(simulation.tick, name="ticks")
        cycle = await simulation.full_cycle()
        after = await simulation.go_on() if plan.after else None
        report = simulation.report(cycle, after)
        group.cancel_scope.cancel()
    return report


class Simulation:
    """The parts of a daemon that schedule, around syncs that only take time."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        self._settings = settings
        self._plan = plan
        self._clock = LoopClock()
        self._draw = Random(plan.seed)
        self._store = MemoryLeaseStore(
            self._clock, lease=timedelta(seconds=settings.cluster.lease_s)
        )
        for account in due_at_once(plan.crowd, self._draw, self._clock.now()):
            self._store.add(account)
        self._unsynced = set(self._store.accounts)
        self._all_synced = anyio.Event()
        self._running: dict[AccountKey, SyncJob] = {}
        self._left_s: dict[AccountKey, float] = {}  #: of syncs that were sliced
        self._meter = Meter(settings, self._clock.monotonic())
        live = LiveSettings(settings)
        self.engine = SyncEngine(
            settings=live,
            store=self._store,
            run_job=self._sync,
            clock=self._clock,
            metrics=Metrics(),
            instance_id="simulated",
            jitter=self._draw.random,
        )
        self.engine.listeners.append(self._job_finished)
        self.scheduler = SyncSchedulerService(
            engine=self.engine, store=self._store, settings=live, clock=self._clock
        )

    async def tick(self) -> None:
        """Tick at the cron's times. APScheduler's own loop would read this machine's clock."""
        trigger, last = cron(self._settings.email_sync.cron), None
        while (at := trigger.get_next_fire_time(last, self._clock.now())) is not None:
            await anyio.sleep((at - self._clock.now()).total_seconds())
            self.scheduler.tick()
            last = at

    async def full_cycle(self) -> Measured:
        """Wait until every account was synced once, or the patience ends."""
        with anyio.move_on_after(self._plan.patience.total_seconds()):
            await self._all_synced.wait()
        return self._meter.read(self._clock.monotonic())

    async def go_on(self) -> Measured:
        """Measure anew from here on."""
        now_s = self._clock.monotonic()
        self._meter = Meter(self._settings, now_s, self._running.values())
        await anyio.sleep(self._plan.after.total_seconds())
        return self._meter.read(self._clock.monotonic())

    def report(self, cycle: Measured, after: Measured | None) -> Report:
        """Return what was measured, and who waits now."""
        overdue_s = self._overdue_s()
        return Report(
            accounts=len(self._store.accounts),
            never_synced=Counter(self._store.accounts[key].job.priority for key in self._unsynced),
            wanted_per_s=sum(map(self._wanted_per_s, self._store.accounts.values())),
            cycle=cycle,
            after=after,
            overdue=len(overdue_s),
            longest_overdue_s=max(overdue_s, default=0),
        )

    def _wanted_per_s(self, account: LeasedAccount) -> float:
        intervals = self._settings.intervals.of(account.job.provider_type)
        return 1 / intervals.of(account.job.priority).total_seconds()

    def _overdue_s(self) -> Sequence[float]:
        now = self._clock.now()
        return [
            (now - account.next_sync_at).total_seconds()
            for key, account in self._store.accounts.items()
            if key not in self._running
            and account.next_sync_at is not None
            and account.next_sync_at < now
        ]

    async def _sync(self, job: SyncJob, progress: Progress) -> bool:
        now_s = self._clock.monotonic()
        lag_s = (self._clock.now() - job.due_at).total_seconds()
        self._running[job.key] = job
        self._meter.began(job, now_s, lag_s=lag_s)
        left_s = self._left_s.pop(job.key, None) or self._drawn_s()
        slice_s = min(left_s, progress.quantum.total_seconds())
        await anyio.sleep(slice_s)
        if left_s > slice_s:
            self._left_s[job.key] = left_s - slice_s
        return left_s > slice_s

    def _drawn_s(self) -> float:
        return self._draw.lognormvariate(log(self._plan.sync_s), SPREAD)

    def _job_finished(self, job: SyncJob, record: RunRecord) -> None:
        done = record.outcome.result is RunResult.DONE
        self._running.pop(job.key, None)
        self._meter.ended(job, self._clock.monotonic(), done=done)
        if done:
            self._unsynced.discard(job.key)
        if not self._unsynced:
            self._all_synced.set()
