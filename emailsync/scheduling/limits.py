"""How much may run at once, and how fast: by provider type, tenant, endpoint, account and queue.

Admission never waits: a job either gets all its slots or is told which limit blocks it. Who waits
where, and who goes first, is the queues' business.

The slots are anyio's CapacityLimiter, borrowed in the name of an account and never awaited. A
queue's pace is an AsyncLimiter; its drain is computed once, so a new pace is a new object, and
only amounts of one are taken, because its waiters overtake each other by amount.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import anyio
from aiolimiter import AsyncLimiter

from emailsync.config import ImapLimits, ProviderLimits, QueueSettings, Settings
from emailsync.domain.accounts import ProviderType
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import QueueName
from emailsync.ports import Clock

SHORTEST_WAIT_S: Final = 0.01  #: a faster pace is let through in small groups, not job by job


class LimitKind(StrEnum):
    """What a limit is counted by, in the order in which a job is held against them."""

    INTERVAL = "interval"  #: an account: time between two syncs
    QUEUE = "queue"  #: a queue: jobs started in a time
    TENANT = "tenant"  #: a provider type and tenant: jobs at once
    ENDPOINT = "endpoint"  #: a provider type and endpoint: connections at once
    TYPE = "type"  #: a provider type: jobs at once


class Limit(NamedTuple):
    """The name of one limit."""

    kind: LimitKind
    provider_type: ProviderType | None = None
    of: Hashable = None  #: the account's key, the queue, the tenant or the endpoint


@dataclass(frozen=True, slots=True)
class Permit:
    """The slots that a running job occupies; give it back with `Limits.release`."""

    job: SyncJob
    slots: tuple[Limit, ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    """The first limit that does not let the job run."""

    by: Limit
    retry_in_s: float | None = None  #: when time alone may free it; None: a job has to end first


def endpoint_slots(limits: ProviderLimits) -> int | None:
    """Return how many jobs may use one endpoint at once; None: as many as the type allows.

    A sync over IMAP keeps one connection open.
    """
    if isinstance(limits, ImapLimits):
        return max(1, int(limits.connections_per_host * limits.utilisation))
    return None


class Limits:
    """The state of every limit. Used by one event loop; changes to it are never interleaved."""

    def __init__(self, settings: Settings, clock: Clock, *, instances: int = 1) -> None:
        self._settings = settings
        self._clock = clock
        self._instances = instances
        self._slots: dict[Limit, anyio.CapacityLimiter] = {}  #: those in use
        self._pace = {queue: _pace(settings.queues.of(queue)) for queue in QueueName}

    async def try_admit(self, job: SyncJob, *, reserved: Limit | None = None) -> Permit | Blocked:
        """Take everything that the job needs, or nothing; returns without ever waiting.

        Args:
            job: who asks.
            reserved: a slot that `reserve` took for it before; given back when the job is blocked,
                by a limit that was lowered since perhaps.
        """
        taken = [] if reserved is None else [reserved]
        blocked = self._blocked_by_time(job)
        for limit in self._slots_of(job) if blocked is None else ():
            if limit == reserved and not self._is_exceeded(limit):
                continue
            if limit == reserved or not self.reserve(limit, job):
                blocked = Blocked(limit)
                break
            taken.append(limit)
        if blocked is not None:
            self._give_back(taken, job)
            return blocked
        await self._pace[job.queue].acquire()  # there is room: this does not suspend
        return Permit(job, tuple(taken))

    def reserve(self, limit: Limit, job: SyncJob) -> bool:
        """Take one slot of `limit` for the job; return whether there was one."""
        slots = self._slots.get(limit)
        if slots is None:
            slots = self._slots[limit] = anyio.CapacityLimiter(self._total(limit))
        try:
            slots.acquire_on_behalf_of_nowait(job.key)
        except anyio.WouldBlock:
            return False
        return True

    def unreserve(self, limit: Limit, job: SyncJob) -> None:
        """Give back what `reserve` took."""
        self._give_back((limit,), job)

    def release(self, permit: Permit) -> None:
        """Give the slots of a finished job back."""
        self._give_back(permit.slots, permit.job)

    def free(self, limit: Limit) -> int:
        """Return how many more jobs `limit` would let through now."""
        if limit.kind is LimitKind.INTERVAL:
            return 1
        if limit.kind is LimitKind.QUEUE:
            queue = limit.of
            assert isinstance(queue, QueueName)
            workers = self._settings.queues.of(queue).concurrency
            return sum(self._pace[queue].has_capacity(jobs) for jobs in range(1, workers + 1))
        slots = self._slots.get(limit)
        used = 0 if slots is None else slots.borrowed_tokens
        return max(0, self._total(limit) - used)

    async def resize(self, settings: Settings, *, instances: int) -> None:
        """Put other limits in force; what runs goes on, and counts against them.

        Args:
            settings: the new limits.
            instances: live daemons on this database, which share the limits of a type and of an
                endpoint.
        """
        before, self._settings, self._instances = self._settings, settings, instances
        for limit, slots in self._slots.items():
            slots.total_tokens = self._total(limit)
        for queue in QueueName:
            new = settings.queues.of(queue)
            if _rate(new) != _rate(before.queues.of(queue)):
                self._pace[queue] = await _replaced(self._pace[queue], new)

    def in_use(self) -> Mapping[ProviderType, int]:
        """Return the jobs running now, by provider type."""
        return {
            kind: slots.borrowed_tokens
            for kind in ProviderType
            if (slots := self._slots.get(Limit(LimitKind.TYPE, kind))) is not None
        }

    def _blocked_by_time(self, job: SyncJob) -> Blocked | None:
        rest_s = self._rest_s(job)
        if rest_s > 0:
            return Blocked(Limit(LimitKind.INTERVAL, of=job.key), rest_s)
        pace = self._pace[job.queue]
        if not pace.has_capacity():
            wait_s = max(SHORTEST_WAIT_S, pace.time_period / pace.max_rate)
            return Blocked(Limit(LimitKind.QUEUE, of=job.queue), wait_s)
        return None

    def _rest_s(self, job: SyncJob) -> float:
        """Return how long the account must rest after its last completed sync.

        A slice or a failure completes nothing, so what follows it is not held back.
        """
        if job.last_synced_at is None:
            return 0
        interval_s = self._settings.limits.of(job.provider_type).interval_ms / 1_000
        ended_s_ago = (self._clock.now() - job.last_synced_at).total_seconds()
        if ended_s_ago < -interval_s:
            return 0  # our clock is behind the database's: it cannot tell
        return interval_s - ended_s_ago

    def _slots_of(self, job: SyncJob) -> tuple[Limit, ...]:
        """Return the slots the job needs, the narrowest first: it waits where it waits longest."""
        kind = job.provider_type
        tenant = Limit(LimitKind.TENANT, kind, job.key.tenant_id)
        whole = Limit(LimitKind.TYPE, kind)
        if endpoint_slots(self._settings.limits.of(kind)) is None:
            return (tenant, whole)
        return (tenant, Limit(LimitKind.ENDPOINT, kind, job.endpoint), whole)

    def _total(self, limit: Limit) -> int:
        assert limit.provider_type is not None
        limits = self._settings.limits.of(limit.provider_type)
        match limit.kind:
            case LimitKind.TYPE:
                return self._share(limits.concurrent)
            case LimitKind.TENANT:
                return limits.per_tenant
            case _:
                return self._share(endpoint_slots(limits) or limits.concurrent)

    def _share(self, total: int) -> int:
        """Return this daemon's part: together they stay within the total, but for one job each."""
        return max(1, total // self._instances)

    def _is_exceeded(self, limit: Limit) -> bool:
        slots = self._slots[limit]
        return slots.borrowed_tokens > slots.total_tokens

    def _give_back(self, taken: Iterable[Limit], job: SyncJob) -> None:
        for limit in taken:
            slots = self._slots[limit]
            slots.release_on_behalf_of(job.key)
            if not slots.borrowed_tokens:
                del self._slots[limit]


def _rate(queue: QueueSettings) -> tuple[int, int]:
    return queue.limiter_max, queue.limiter_duration_ms


def _pace(queue: QueueSettings) -> AsyncLimiter:
    return AsyncLimiter(queue.limiter_max, queue.limiter_duration_ms / 1_000)


async def _replaced(old: AsyncLimiter, queue: QueueSettings) -> AsyncLimiter:
    """Return a limiter of the new pace that remembers what was let through: no second burst."""
    new = _pace(queue)
    used = sum(not old.has_capacity(jobs) for jobs in range(1, int(old.max_rate) + 1))
    await new.acquire(min(used, new.max_rate))
    return new
