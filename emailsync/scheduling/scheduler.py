"""SyncSchedulerService: decides when to claim what is due, for each queue by itself.

It claims at every tick of the cron clock, when a queue runs low and the last claim left work
behind, when an account becomes due before the next tick, and when it is woken. It claims no more
than the queues have room for, so the work of ten thousand tenants stays in the database, where
any daemon can take it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import anyio
import anyio.abc
import structlog

from emailsync.config import LiveSettings
from emailsync.domain.errors import StoreUnavailable
from emailsync.domain.jobs import Moved, SyncJob
from emailsync.domain.priority import QueueName
from emailsync.domain.runs import RunRecord
from emailsync.ports import ClaimRequest, Clock, LeaseStore
from emailsync.scheduling.engine import SyncEngine

LOW_WATER: Final = 0.5  #: share of a batch; below, a queue is refilled
LONGEST_PAUSE_S: Final = 5.0  #: between two tries while the store is away
MOST_WAITING: Final = 1_000  #: jobs in the queue that takes what was asked for
SHORTEST_PAUSE: Final = timedelta(seconds=1)
"""Between two claims for the same due time: what is due may be held by somebody else."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Supply:
    """What the scheduler knows about the due accounts of one queue."""

    more: bool = True  #: the last claim was filled: there may be more
    due_at: datetime | None = None  #: when the next one is due

    def due_by(self, at: datetime) -> None:
        """Note that something is due at `at`."""
        self.due_at = at if self.due_at is None else min(self.due_at, at)


class SyncSchedulerService:
    """Feeds the engine with due accounts."""

    def __init__(
        self, *, engine: SyncEngine, store: LeaseStore, settings: LiveSettings, clock: Clock
    ) -> None:
        self._engine = engine
        self._store = store
        self._settings = settings
        self._clock = clock
        self._supply = {queue: Supply() for queue in QueueName}
        self._ticked = True
        self._woken = False
        self._moved: list[Moved] = []
        self._poked = anyio.Event()
        engine.listeners.append(self._job_finished)

    def tick(self) -> None:
        """Recompute the priorities and claim for every queue."""
        self._ticked = True
        self._poked.set()

    def wake(self, moved: Moved | None = None) -> None:
        """Look for due and requested accounts now; cheap enough to be called for each new account.

        Args:
            moved: accounts that have another place in line, though they may wait here already.
        """
        self._woken = True
        if moved is not None:
            self._moved.append(moved)
        for supply in self._supply.values():
            supply.due_by(self._clock.now())
        self._poked.set()

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Claim until cancelled. While the store is away nothing is claimed and nothing spins."""
        task_status.started()
        failures = 0
        while True:
            self._poked = anyio.Event()
            try:
                await self._claim_due()
            except StoreUnavailable as error:
                failures += 1
                log.warning("scheduler.store_unavailable", error=error.message)
                await anyio.sleep(min(LONGEST_PAUSE_S, 0.5 * 2 ** min(failures, 8)))
                continue
            failures = 0
            with anyio.move_on_after(self._next_look_s()):
                await self._poked.wait()

    async def _claim_due(self) -> None:
        if not self._settings.current.email_sync.enabled:
            return
        ticked, self._ticked = self._ticked, False
        woken, self._woken = self._woken, False
        try:
            if ticked:
                await self._store.reprioritise()
            if ticked or woken:
                await self._claim_requested()
            for queue, supply in self._supply.items():
                if ticked or self._is_wanted(queue, supply):
                    await self._claim(queue, supply)
        except StoreUnavailable:
            self._ticked |= ticked
            self._woken |= woken
            raise

    async def _claim_requested(self) -> None:
        """Claim what somebody asked for, though its queue may have no room for what is due."""
        moved, self._moved = self._moved, []
        await self._engine.put_back(moved)
        if self._engine.queues.waiting(QueueName.HIGH) >= MOST_WAITING:
            return  # the next tick looks again
        batch = self._settings.current.email_sync.batch_size
        request = ClaimRequest(queue=QueueName.HIGH, limit=batch, requested=True)
        if len(await self._engine.claim(request)) == batch:
            self._woken = True
            self._poked.set()

    def _is_wanted(self, queue: QueueName, supply: Supply) -> bool:
        if supply.due_at is not None and supply.due_at <= self._clock.now():
            return True
        return supply.more and self._runs_low(queue)

    async def _claim(self, queue: QueueName, supply: Supply) -> None:
        room = self._engine.room(queue)
        if not room:
            supply.more, supply.due_at = True, None  # it is looked at again when it runs low
            return
        supply.due_at = None
        batch = self._settings.current.email_sync.batch_size
        request = ClaimRequest(queue=queue, limit=room, tenant_share=batch)
        claimed = await self._engine.claim(request)
        supply.more = len(claimed) == room
        if not supply.more:
            due_at = await self._store.next_due(queue)
            if due_at is not None:
                supply.due_by(max(due_at, self._clock.now() + SHORTEST_PAUSE))

    def _runs_low(self, queue: QueueName) -> bool:
        return self._engine.queues.able(queue) <= (
            LOW_WATER * self._settings.current.email_sync.batch_size
        )

    def _next_look_s(self) -> float | None:
        """Return how long nothing is due; None: until somebody pokes."""
        if not self._settings.current.email_sync.enabled:
            return None
        due = [supply.due_at for supply in self._supply.values() if supply.due_at is not None]
        if not due:
            return None
        return max(0.0, (min(due) - self._clock.now()).total_seconds())

    def _job_finished(self, job: SyncJob, record: RunRecord) -> None:
        if record.outcome.next_sync_at is not None:
            self._supply[job.queue].due_by(record.outcome.next_sync_at)
        self._poked.set()  # to sleep for another time, or to refill
