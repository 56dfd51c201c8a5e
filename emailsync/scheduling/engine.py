"""SyncEngine: queues, limits, leases and workers as one thing that is fed with claims.

The scheduler feeds it with what is due, a foreground sync with what was asked for. It decides
nothing itself: it wires the parts, and starts, resizes and stops them in the right order.
"""

from collections.abc import Callable, Collection, Sequence
from secrets import SystemRandom
from typing import Final

import anyio
import anyio.abc
import structlog

from emailsync.config import LiveSettings
from emailsync.domain.accounts import AccountKey
from emailsync.domain.errors import StoreUnavailable
from emailsync.domain.jobs import Moved, SyncJob
from emailsync.domain.priority import QueueName
from emailsync.domain.runs import RunRecord
from emailsync.metrics import Metrics
from emailsync.ports import ClaimRequest, Clock, LeaseStore
from emailsync.scheduling.leases import LeaseKeeper
from emailsync.scheduling.limits import Limits
from emailsync.scheduling.queues import QueueService
from emailsync.scheduling.worker import RunJob, SyncWorker

BATCHES_WAITING: Final = 2  #: a queue holds so many batches; what more is due stays due
MOST_BATCHES_WAITING: Final = 20
"""With the jobs of tenants that have their share already: those do not keep others out."""
CHECKPOINT_S: Final = 3.0  #: that cancelled jobs get for storing how far they came

log = structlog.get_logger(__name__)


class SyncEngine:
    """Runs claimed jobs.

    Args:
        settings: the settings in force; call `resize` when they were replaced.
        store: who may sync what.
        run_job: one sync.
        clock: the time, which may be virtual.
        metrics: what is counted.
        instance_id: this daemon's name among those on the same database.
        jitter: uniform in [0, 1); random unless given.
    """

    def __init__(
        self,
        *,
        settings: LiveSettings,
        store: LeaseStore,
        run_job: RunJob,
        clock: Clock,
        metrics: Metrics,
        instance_id: str,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self.listeners: list[Callable[[SyncJob, RunRecord], None]] = []  #: called after each run
        self.limits = Limits(settings.current, clock, instances=settings.instances)
        self.queues = QueueService(settings.current, self.limits, clock, metrics)
        self._settings = settings
        self._store = store
        self._clock = clock
        self._keeper = LeaseKeeper(
            store=store,
            clock=clock,
            settings=settings,
            instance_id=instance_id,
            drop=lambda job: self.queues.drop(job.key),
            instances_changed=self._resize_limits,
        )
        self._worker = SyncWorker(
            run_job=run_job,
            store=store,
            keeper=self._keeper,
            queues=self.queues,
            settings=settings,
            clock=clock,
            metrics=metrics,
            jitter=jitter or SystemRandom().random,
            finished=self._tell,
        )
        self._scope = anyio.CancelScope()
        self._worked_off = anyio.Event()
        self._stopping = False

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Run what is claimed until `stop` has done its work."""
        with self._scope:
            async with anyio.create_task_group() as group:
                await group.start(self._keeper.run, name="leases")
                await group.start(self._work, name="worker")
                task_status.started()

    def room(self, queue: QueueName) -> int:
        """Return how many jobs may be claimed for `queue` at once."""
        batch = self._settings.current.email_sync.batch_size
        able, all_ = self.queues.able(queue), self.queues.waiting(queue)
        free = min(BATCHES_WAITING * batch - able, MOST_BATCHES_WAITING * batch - all_)
        return min(batch, max(0, free))

    async def claim(self, request: ClaimRequest) -> Sequence[SyncJob]:
        """Claim accounts, queue them, one becoming available every stagger, and return them.

        Raises:
            StoreUnavailable: nothing was claimed.
        """
        asked_s = self._clock.monotonic()
        with anyio.CancelScope(shield=True):  # cut short it would leave leases nobody knows of
            jobs = await self._store.claim(request)
            if self._stopping:
                await self._give_back(jobs)
                return ()
        self._keeper.hold(jobs, asked_s=asked_s)
        stagger_s = self._settings.current.email_sync.stagger_ms / 1_000
        refused = self.queues.put_all(jobs, stagger_s=stagger_s)
        await self._give_back(refused)
        return [job for job in jobs if job not in refused]

    async def put_back(self, moved: Collection[Moved]) -> None:
        """Give back what waits here but has another place in line by now: it is claimed anew."""

        def is_moved(key: AccountKey) -> bool:
            return any(each.concerns(key) for each in moved)

        await self._give_back(self.queues.drop_where(is_moved))

    async def resize(self) -> None:
        """Put the current settings in force: limits, pace and workers. No job is dropped."""
        await self._resize_limits()
        self._worker.resize()

    async def stop(self, *, grace_s: float) -> None:
        """Start nothing more, let running jobs end for `grace_s`, cut the rest short.

        Every lease is given back. When this is cancelled, leases run out by themselves.
        """
        self._stopping = True
        self._worker.stop()
        await self._give_back(self.queues.drop_where(lambda _key: True))
        with anyio.move_on_after(grace_s):
            await self._worked_off.wait()
        self._keeper.cancel_running()
        with anyio.move_on_after(CHECKPOINT_S):
            await self._worked_off.wait()
        self._scope.cancel()

    async def _work(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        await self._worker.run(task_status=task_status)
        self._worked_off.set()

    async def _give_back(self, jobs: Sequence[SyncJob]) -> None:
        for job in jobs:
            self._keeper.let_go(job)
        if jobs:
            try:
                await self._store.release([job.lease for job in jobs])
            except StoreUnavailable:
                log.warning("leases.not_released", count=len(jobs))  # they run out by themselves

    async def _resize_limits(self) -> None:
        settings = self._settings
        await self.limits.resize(settings.current, instances=settings.instances)
        self.queues.resize(settings.current)

    def _tell(self, job: SyncJob, record: RunRecord) -> None:
        for listener in self.listeners:
            listener(job, record)
