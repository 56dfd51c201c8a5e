"""Whether the limits let through what the accounts, and the promised cycle times, ask for.

Pure arithmetic on the settings and on what the accounts want. A queue passes at most what its
limiter and its workers pass; a provider type at most what its concurrency passes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from emailsync.commands.findings import Finding, Verdict
from emailsync.config import Settings
from emailsync.domain.accounts import ProviderType
from emailsync.domain.priority import QueueName, queue_of
from emailsync.store.overview import Demand

ASSUMED_SYNC_S: Final = 2.0  #: connect, TLS, login and look over a far-away network, nothing new
SPARE_CONNECTIONS: Final = 2  #: for the scheduler and the health pages


@dataclass(frozen=True, slots=True)
class Target:
    """A promise: so many tenants with two accounts each are synced within so many minutes."""

    tenants: int
    minutes: int

    @property
    def per_minute(self) -> float:
        """Syncs a minute that this takes."""
        return self.tenants * 2 / self.minutes


TARGETS: Final = (Target(100, 5), Target(1_000, 60), Target(10_000, 240))


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One thing that bounds the syncs a minute, named by the key that raises it."""

    key: str
    per_minute: float


def capacity_findings(settings: Settings, demand: Demand) -> Sequence[Finding]:
    """Hold the limits against the accounts that are there and against the targets."""
    sync_s = demand.mean_duration_s or ASSUMED_SYNC_S
    return (
        _pool(settings),
        *(_queue(settings, demand, queue, sync_s) for queue in QueueName),
        *(_provider(settings, demand, kind, sync_s) for kind in ProviderType),
        *(_target(settings, target, sync_s) for target in TARGETS),
    )


def _pool(settings: Settings) -> Finding:
    workers = sum(settings.queues.of(queue).concurrency for queue in QueueName)
    needed, there = workers + SPARE_CONNECTIONS, settings.database.pool_max
    if there >= needed:
        detail = f"{there} connections for {workers} workers"
        return Finding("database.pool_max", Verdict.OK, detail)
    detail = (
        f"{there} connections for {workers} workers, which then wait for each other; "
        f"set it to {needed} (at most 19), or lower queues.*.concurrency"
    )
    return Finding("database.pool_max", Verdict.SHORT, detail)


def _queue(settings: Settings, demand: Demand, queue: QueueName, sync_s: float) -> Finding:
    wanted = sum(
        accounts * 60 / settings.intervals.of(kind).of(priority).total_seconds()
        for (kind, priority), accounts in demand.accounts.items()
        if queue_of(priority) is queue
    )
    return _compared(f"queue {queue.value}", wanted, _queue_ceilings(settings, queue, sync_s))


def _provider(settings: Settings, demand: Demand, kind: ProviderType, sync_s: float) -> Finding:
    wanted = sum(
        accounts * 60 / settings.intervals.of(kind).of(priority).total_seconds()
        for (of_kind, priority), accounts in demand.accounts.items()
        if of_kind is kind
    )
    return _compared(f"provider {kind.value}", wanted, [_type_ceiling(settings, kind, sync_s)])


def _target(settings: Settings, target: Target, sync_s: float) -> Finding:
    name = f"target: {target.tenants:,} tenants in {target.minutes} min"
    limiters, workers = (
        [_queue_ceilings(settings, queue, sync_s)[index] for queue in QueueName] for index in (0, 1)
    )
    types = [_type_ceiling(settings, kind, sync_s) for kind in ProviderType]
    ceilings = [
        Ceiling(key, sum(part.per_minute for part in parts))
        for key, parts in (
            ("queues.*.limiter_max", limiters),
            ("queues.*.concurrency", workers),
            ("limits.*.concurrent", types),
        )
    ]
    return _compared(name, target.per_minute, ceilings)


def _queue_ceilings(settings: Settings, queue: QueueName, sync_s: float) -> Sequence[Ceiling]:
    """Return what the queue's limiter and its workers let through."""
    of_queue = settings.queues.of(queue)
    limiter = of_queue.limiter_max * 60_000 / of_queue.limiter_duration_ms
    return (
        Ceiling(f"queues.{queue.value}.limiter_max", limiter),
        Ceiling(f"queues.{queue.value}.concurrency", of_queue.concurrency * 60 / sync_s),
    )


def _type_ceiling(settings: Settings, kind: ProviderType, sync_s: float) -> Ceiling:
    concurrent = settings.limits.of(kind).concurrent
    return Ceiling(f"limits.{kind.value}.concurrent", concurrent * 60 / sync_s)


def _compared(name: str, wanted: float, ceilings: Iterable[Ceiling]) -> Finding:
    lowest = min(ceilings, key=lambda ceiling: ceiling.per_minute)
    figures = (
        f"needs {wanted:.1f} syncs/min of the {lowest.per_minute:.1f} that {lowest.key} allows"
    )
    if wanted <= lowest.per_minute:
        return Finding(name, Verdict.OK, figures)
    factor = wanted / lowest.per_minute
    return Finding(name, Verdict.SHORT, f"{figures}; raise it {factor:.1f} times")
