"""QueueService: the three queues, from the claim of a job until a worker may run it.

A job is delayed (staggered), ready (in its queue's asyncio.PriorityQueue, by fair tag), parked
under the limit that blocks it, or running. It holds a worker only while it runs. Nothing here
talks to the database or knows what a sync does.

When a limit frees, its slot is reserved for a parked job whose queue has a worker for it at once;
the queues take turns at that, so a queue with endless work cannot keep the slots of a provider
type to itself. To a queue whose workers are all busy a job goes back without a slot, in its old
place, and tries when its turn comes: a slot never waits for a worker. Each freed slot moves a
bounded number of jobs, however many are parked.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Final

import anyio.lowlevel

from emailsync.config import Settings
from emailsync.domain.accounts import AccountKey
from emailsync.domain.fairness import FairClock
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority, QueueName
from emailsync.domain.runs import RunResult
from emailsync.metrics import Metrics
from emailsync.ports import Clock
from emailsync.scheduling.limits import Blocked, Limit, LimitKind, Limits, Permit
from emailsync.scheduling.parking import Lot, WaitingJob

KEPT_FAILURES: Final = 100
RESERVABLE: Final = frozenset({LimitKind.TENANT, LimitKind.ENDPOINT, LimitKind.TYPE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A run that failed, kept for a look."""

    key: AccountKey
    queue: QueueName
    at: datetime
    result: RunResult
    error_class: str
    error: str


class ReadyQueue(asyncio.PriorityQueue[WaitingJob]):
    """A priority queue that shows its head."""

    _queue: list[WaitingJob]  # the heap that asyncio's class keeps for its subclasses

    def head(self) -> WaitingJob | None:
        """Return the job that `get` would return."""
        return self._queue[0] if self._queue else None


class QueueService:
    """The jobs of this daemon that wait or run: at most one an account."""

    def __init__(self, settings: Settings, limits: Limits, clock: Clock, metrics: Metrics) -> None:
        self.failures: deque[Failure] = deque(maxlen=KEPT_FAILURES)  #: the newest last
        self._settings = settings
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._arrivals = count()
        self._fair = {queue: FairClock() for queue in QueueName}
        self._ready = {queue: ReadyQueue() for queue in QueueName}
        self._lots: dict[Limit, Lot] = {}
        self._waiting: dict[AccountKey, WaitingJob] = {}
        self._running: dict[AccountKey, SyncJob] = {}
        self._waiting_in = dict.fromkeys(QueueName, 0)
        self._running_in = dict.fromkeys(QueueName, 0)
        self._free_workers = dict.fromkeys(QueueName, 0)
        self._reserved_in = dict.fromkeys(QueueName, 0)  #: ready jobs that bring a slot along

    def put(self, job: SyncJob, *, delay_s: float = 0) -> bool:
        """Queue a job that becomes available in `delay_s`; return whether its account had none."""
        return not self.put_all((job,), first_after_s=delay_s)

    def put_all(
        self, jobs: Sequence[SyncJob], *, stagger_s: float = 0, first_after_s: float = 0
    ) -> Sequence[SyncJob]:
        """Queue a batch, one job becoming available every `stagger_s`, tenants in turns.

        Returns the jobs that were refused, because their account has an open job here.
        """
        refused: list[SyncJob] = []
        accepted: list[WaitingJob] = []
        for job in jobs:
            if job.key in self._waiting or job.key in self._running:
                refused.append(job)
                continue
            tag = self._fair[job.queue].tag(job.key.tenant_id, job.weight)
            entry = WaitingJob(job, tag, next(self._arrivals))
            self._waiting[job.key] = entry
            self._waiting_in[job.queue] += 1
            self._metrics.job_queued(job)
            accepted.append(entry)
        for place, entry in enumerate(sorted(accepted)):
            self._make_available(entry, first_after_s + place * stagger_s)
        return refused

    async def next_runnable(self, queue: QueueName) -> Permit:
        """Wait for the next job of `queue` that may run now; hand its permit to `done` later.

        A job that may not run is parked on the way. Cancelling this loses no job.
        """
        while True:
            entry = await self._next_ready(queue)
            permit = None if entry.gone else await self._try(entry)
            if permit is not None:
                return permit
            await anyio.lowlevel.checkpoint()  # thousands may be parked in a row

    def done(self, permit: Permit) -> None:
        """End a job: its limits are free again, its worker will ask for the next one at once."""
        queue = permit.job.queue
        del self._running[permit.job.key]
        self._running_in[queue] -= 1
        self._limits.release(permit)
        self._free_workers[queue] += 1  # so that its own queue takes part in the turns below
        for limit in permit.slots:
            self._offer(limit)
        self._free_workers[queue] -= 1
        self._rest_if_empty(queue)

    def drop(self, key: AccountKey) -> SyncJob | None:
        """Give up the account's job if it still waits, and return it."""
        entry = self._waiting.get(key)
        if entry is None:
            return None
        entry.gone = True
        if entry.delay is not None:
            entry.delay.cancel()
        sent_by = entry.sent_by
        if sent_by is not None and entry.has_slot:
            self._limits.unreserve(sent_by, entry.job)
        self._has_tried(entry)
        self._no_longer_waits(entry)
        if sent_by is not None:
            self._offer(sent_by)
        self._rest_if_empty(entry.job.queue)
        return entry.job

    def drop_where(self, wanted: Callable[[AccountKey], bool]) -> Sequence[SyncJob]:
        """Give up the jobs that wait for such accounts, and return them."""
        keys = [key for key in self._waiting if wanted(key)]
        return [job for key in keys if (job := self.drop(key)) is not None]

    def waiting(self, queue: QueueName) -> int:
        """Return how many jobs of `queue` wait, parked ones included."""
        return self._waiting_in[queue]

    def able(self, queue: QueueName) -> int:
        """Return how many jobs of `queue` wait for something else than jobs of their own tenant."""
        return sum(
            entry.job.queue is queue and not entry.waits_for_its_tenant()
            for entry in self._waiting.values()
        )

    def running(self) -> int:
        """Return how many jobs run."""
        return len(self._running)

    def lag_s(self) -> Mapping[Priority, float]:
        """Return how long the job that is overdue the longest has been due, by priority."""
        now = self._clock.now()
        lag = dict.fromkeys(Priority, 0.0)
        for entry in self._waiting.values():
            overdue_s = (now - entry.job.due_at).total_seconds()
            lag[entry.job.priority] = max(lag[entry.job.priority], overdue_s)
        return lag

    def resize(self, settings: Settings) -> None:
        """Note other settings, and let in whoever they let in; call `Limits.resize` before."""
        self._settings = settings
        for limit in tuple(self._lots):
            self._offer(limit)

    def _make_available(self, entry: WaitingJob, delay_s: float) -> None:
        if delay_s <= 0:
            self._make_ready(entry)
        else:
            loop = asyncio.get_running_loop()
            entry.delay = loop.call_later(delay_s, self._make_ready, entry)

    def _make_ready(self, entry: WaitingJob) -> None:
        self._ready[entry.job.queue].put_nowait(entry)

    async def _next_ready(self, queue: QueueName) -> WaitingJob:
        self._free_workers[queue] += 1
        try:
            return await self._ready[queue].get()
        finally:
            self._free_workers[queue] -= 1

    async def _try(self, entry: WaitingJob) -> Permit | None:
        job, sent_by = entry.job, entry.sent_by
        verdict = await self._limits.try_admit(job, reserved=sent_by if entry.has_slot else None)
        self._has_tried(entry)
        if isinstance(verdict, Blocked):
            self._park(entry, verdict)
            if sent_by not in {None, verdict.by}:
                self._offer(sent_by)  # what it could not use is somebody else's
            return None
        self._no_longer_waits(entry)
        self._running[job.key] = job
        self._running_in[job.queue] += 1
        if not job.requested:  # it came before those whose turn it was
            self._fair[job.queue].advance(entry.tag)
        return verdict

    def _park(self, entry: WaitingJob, blocked: Blocked) -> None:
        entry.blocked_by = blocked.by
        lot = self._lots.setdefault(blocked.by, Lot())
        lot.park(entry)
        if blocked.retry_in_s is not None:
            self._offer_later(blocked.by, lot, blocked.retry_in_s)

    def _offer_later(self, limit: Limit, lot: Lot, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        if lot.timer is None or lot.timer.when() > loop.time() + wait_s:
            if lot.timer is not None:
                lot.timer.cancel()
            lot.timer = loop.call_later(wait_s, self._offer_in_time, limit, lot, wait_s)

    def _offer_in_time(self, limit: Limit, lot: Lot, wait_s: float) -> None:
        lot.timer = None
        self._offer(limit)
        if lot.heads():
            self._offer_later(limit, lot, wait_s)

    def _offer(self, limit: Limit) -> None:
        """Send back as many of the jobs that `limit` blocks as it has room for."""
        lot = self._lots.get(limit)
        if lot is None:
            return
        free = self._limits.free(limit)
        if limit.kind in RESERVABLE:
            free -= self._reserve_in_turns(limit, lot, free)
        for queue in lot.heads():
            while lot.trying.get(queue, 0) < free and queue in lot.heads():
                self._send_back(lot.pop_to_try(queue), limit)
        self._forget_if_empty(limit, lot)

    def _reserve_in_turns(self, limit: Limit, lot: Lot, free: int) -> int:
        """Reserve up to `free` slots for jobs that a worker would take at once; return how many."""
        for reserved in range(free):
            able = [queue for queue, entry in lot.heads().items() if self._would_be_next(entry)]
            if not able:
                return reserved
            entry = lot.pop_turn(
                {queue: self._settings.queues.of(queue).concurrency for queue in able}
            )
            self._limits.reserve(limit, entry.job)
            entry.has_slot = True
            self._reserved_in[entry.job.queue] += 1
            self._send_back(entry, limit)
        return free

    def _would_be_next(self, entry: WaitingJob) -> bool:
        queue = entry.job.queue
        ready, workers = self._ready[queue], self._free_workers[queue]
        if workers <= self._reserved_in[queue]:
            return False
        head = ready.head()
        return head is None or entry < head or ready.qsize() < workers

    def _send_back(self, entry: WaitingJob, limit: Limit) -> None:
        entry.sent_by = limit
        self._make_ready(entry)

    def _has_tried(self, entry: WaitingJob) -> None:
        """Take note that what it was sent back with is used up, or given back by the limits."""
        if entry.has_slot:
            self._reserved_in[entry.job.queue] -= 1
        elif entry.sent_by is not None:
            lot = self._lots[entry.sent_by]
            lot.trying[entry.job.queue] -= 1
            self._forget_if_empty(entry.sent_by, lot)
        entry.sent_by, entry.has_slot = None, False

    def _forget_if_empty(self, limit: Limit, lot: Lot) -> None:
        if lot.is_empty():
            if lot.timer is not None:
                lot.timer.cancel()
            del self._lots[limit]

    def _no_longer_waits(self, entry: WaitingJob) -> None:
        del self._waiting[entry.job.key]
        self._waiting_in[entry.job.queue] -= 1
        self._metrics.job_unqueued(entry.job)

    def _rest_if_empty(self, queue: QueueName) -> None:
        if not self._waiting_in[queue] and not self._running_in[queue]:
            self._fair[queue].rest()
