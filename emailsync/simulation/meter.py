"""How full each limit was, and how late each sync began: what a simulation measures.

It is told of every start and end, and knows nothing of who decided them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from emailsync.config import Settings
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority, QueueName
from emailsync.scheduling.limits import endpoint_slots


class LimitName(NamedTuple):
    """The key that sets a limit, and which of several this is."""

    key: str
    of: str = ""  #: the host or the tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUse:
    """How much of a limit was used."""

    limit: str  #: the key that sets it
    of: str  #: the busiest of those that have this limit; empty: there is one only
    allowed: float
    peak: float
    average: float
    full_share: float  #: part of the time in which it let nobody through


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How long the syncs of one priority had been due when they began, in seconds."""

    priority: Priority
    syncs: int
    median_s: float
    p95_s: float
    max_s: float


@dataclass(slots=True)
class Slots:
    """A limit of how many run at once."""

    allowed: float
    _since_s: float
    used: int = 0
    peak: float = 0
    _used_s: float = 0  #: slots times seconds
    _full_s: float = 0

    def change(self, by: int, now_s: float) -> None:
        """Occupy one more, or one less."""
        self.settle(now_s)
        self.used += by
        self.peak = max(self.peak, self.used)

    def settle(self, now_s: float) -> None:
        """Count the time until now."""
        passed_s = now_s - self._since_s
        self._used_s += self.used * passed_s
        self._full_s += passed_s if self.used >= self.allowed else 0
        self._since_s = now_s

    def use(self, name: LimitName, duration_s: float) -> LimitUse:
        """Return what it came to over `duration_s`."""
        return LimitUse(
            limit=name.key,
            of=name.of,
            allowed=self.allowed,
            peak=self.peak,
            average=self._used_s / duration_s,
            full_share=self._full_s / duration_s,
        )


@dataclass(slots=True)
class Pace:
    """A limit of how many begin in a time: a bucket that leaks, as the queues' limiter is one."""

    allowed: float  #: the bucket's size
    duration_s: float  #: in which a full bucket runs empty
    peak: float = 0
    _level: float = 0
    _at_s: float = 0
    _begun: int = 0
    _full_s: float = 0

    def begin(self, now_s: float) -> None:
        """Let one through."""
        rate = self.allowed / self.duration_s
        self._level = max(0.0, self._level - (now_s - self._at_s) * rate) + 1
        self._at_s = now_s
        self.peak = max(self.peak, self._level)
        self._begun += 1
        self._full_s += max(0.0, self._level - (self.allowed - 1)) / rate

    def use(self, name: LimitName, duration_s: float) -> LimitUse:
        """Return what it came to over `duration_s`."""
        return LimitUse(
            limit=name.key,
            of=name.of,
            allowed=self.allowed,
            peak=self.peak,
            average=self._begun / duration_s * self.duration_s,
            full_share=min(1.0, self._full_s / duration_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One stretch of a simulation."""

    duration_s: float
    syncs: int
    lags: Sequence[Lag]
    uses: Sequence[LimitUse]  #: those that were asked, the fullest first

    @property
    def syncs_per_s(self) -> float:
        """Mean over the stretch."""
        return self.syncs / self.duration_s

    @property
    def bottleneck(self) -> LimitUse | None:
        """The limit that was full the longest; None: none ever was."""
        fullest = max(self.uses, key=lambda use: use.full_share, default=None)
        return fullest if fullest is not None and fullest.full_share > 0 else None


class Meter:
    """Measures from `start_s` on.

    Args:
        settings: the limits.
        start_s: the loop's time.
        running: jobs that began before.
    """

    def __init__(self, settings: Settings, start_s: float, running: Iterable[SyncJob] = ()) -> None:
        self._settings = settings
        self._start_s = start_s
        self._slots: dict[LimitName, Slots] = {}
        self._paces: dict[QueueName, Pace] = {}
        self._lags: defaultdict[Priority, list[float]] = defaultdict(list)
        self._syncs = 0
        for job in running:
            self._occupy(job, 1, start_s)

    def began(self, job: SyncJob, now_s: float, *, lag_s: float) -> None:
        """Note that a job runs now, which was due `lag_s` ago."""
        self._occupy(job, 1, now_s)
        self._pace_of(job.queue).begin(now_s)
        self._lags[job.priority].append(lag_s)

    def ended(self, job: SyncJob, now_s: float, *, done: bool) -> None:
        """Note that it runs no longer, and whether its account is up to date."""
        self._occupy(job, -1, now_s)
        self._syncs += done

    def read(self, now_s: float) -> Measured:
        """Return what was measured until now."""
        duration_s = now_s - self._start_s
        for slots in self._slots.values():
            slots.settle(now_s)
        uses = [slots.use(name, duration_s) for name, slots in self._slots.items()]
        uses += [
            pace.use(LimitName(f"queues.{queue.value}.limiter_max"), duration_s)
            for queue, pace in self._paces.items()
        ]
        return Measured(
            duration_s=duration_s,
            syncs=self._syncs,
            lags=[_lag(priority, self._lags[priority]) for priority in sorted(self._lags)],
            uses=_busiest(uses),
        )

    def _occupy(self, job: SyncJob, by: int, now_s: float) -> None:
        for name, allowed in self._slots_of(job):
            slots = self._slots.get(name)
            if slots is None:
                slots = self._slots[name] = Slots(allowed, self._start_s)
            slots.change(by, now_s)

    def _slots_of(self, job: SyncJob) -> Iterable[tuple[LimitName, int]]:
        kind, queue = job.provider_type, job.queue
        limits = self._settings.limits.of(kind)
        section = f"limits.{kind.value}"
        yield (
            LimitName(f"queues.{queue.value}.concurrency"),
            self._settings.queues.of(queue).concurrency,
        )
        yield LimitName(f"{section}.concurrent"), limits.concurrent
        yield LimitName(f"{section}.per_tenant", job.key.tenant_id), limits.per_tenant
        connections = endpoint_slots(limits)
        if connections is not None:
            yield LimitName(f"{section}.connections_per_host", job.endpoint), connections

    def _pace_of(self, queue: QueueName) -> Pace:
        if queue not in self._paces:
            of_queue = self._settings.queues.of(queue)
            self._paces[queue] = Pace(of_queue.limiter_max, of_queue.limiter_duration_ms / 1_000)
        return self._paces[queue]


def _busiest(uses: Iterable[LimitUse]) -> Sequence[LimitUse]:
    """Return, of the hosts and tenants that share a key, the one that was full the longest."""
    by_key: dict[str, LimitUse] = {}
    for use in uses:
        known = by_key.get(use.limit)
        if known is None or (use.full_share, use.average) > (known.full_share, known.average):
            by_key[use.limit] = use
    return sorted(by_key.values(), key=lambda use: (-use.full_share, use.limit))


def _lag(priority: Priority, seconds: Sequence[float]) -> Lag:
    ordered = sorted(seconds)
    return Lag(
        priority=priority,
        syncs=len(ordered),
        median_s=_quantile(ordered, 0.5),
        p95_s=_quantile(ordered, 0.95),
        max_s=ordered[-1],
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share of the values does not exceed."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
