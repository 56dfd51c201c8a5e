"""Whether the limits let through what the accounts, and the promised cycle times, ask for.

Pure arithmetic on the settings and on what the accounts want. A queue passes at most what its
limiter and its workers pass; a provider type at most what its concurrency passes. A promised cycle
is held against the flow of all syncs, those that are due again among them, as `simulate` is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp
from typing import Final

from emailsync.commands.assumed import ASSUMED_SYNC_S
from emailsync.commands.findings import Finding, Verdict
from emailsync.config import Settings
from emailsync.domain.accounts import ProviderType
from emailsync.domain.priority import QueueName, queue_of
from emailsync.simulation.flow import full_cycle
from emailsync.simulation.population import Crowd
from emailsync.simulation.run import SPREAD
from emailsync.store.overview import Demand

ASSUMED_MEAN_S: Final = ASSUMED_SYNC_S * exp(SPREAD**2 / 2)  #: of the log-normal times with it
LOOKED_AT: Final = 3  #: times the promised minutes
SPARE_CONNECTIONS: Final = 2  #: for the scheduler and the health pages


@dataclass(frozen=True, slots=True)
class Target:
    """A promise: so many tenants with two accounts each are synced within so many minutes."""

    tenants: int
    minutes: int


TARGETS: Final = (Target(100, 5), Target(1_000, 60), Target(10_000, 240))


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One thing that bounds the syncs a minute, named by the key that raises it."""

    key: str
    per_minute: float


def capacity_findings(settings: Settings, demand: Demand) -> Sequence[Finding]:
    """Hold the limits against the accounts that are there and against the targets.

    A target's accounts are of the types that are there, or of all where there are none.
    """
    sync_s = demand.mean_duration_s or ASSUMED_MEAN_S
    kinds = [each for each in ProviderType if any(kind is each for kind, _ in demand.accounts)]
    return (
        _pool(settings),
        *(_queue(settings, demand, queue, sync_s) for queue in QueueName),
        *(_provider(settings, demand, kind, sync_s) for kind in ProviderType),
        *(_target(settings, target, kinds or tuple(ProviderType), sync_s) for target in TARGETS),
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


def _target(
    settings: Settings, target: Target, kinds: Sequence[ProviderType], sync_s: float
) -> Finding:
    name = f"target: {target.tenants:,} tenants in {target.minutes} min"
    crowd = Crowd(tenants=target.tenants, accounts_per_tenant=2, provider_types=kinds)
    looked_at = target.minutes * LOOKED_AT
    cycle = full_cycle(settings, crowd, sync_s=sync_s, within_s=looked_at * 60)
    took = cycle.duration_s
    after = f"more than {looked_at}" if took is None else f"{took / 60:.1f}"
    figures = (
        f"2 accounts each ({', '.join(kinds)}), {sync_s:.1f} s a sync: all synced after {after} min"
    )
    if took is not None and took <= target.minutes * 60:
        return Finding(name, Verdict.OK, figures)
    return Finding(name, Verdict.SHORT, f"{figures}; raise {cycle.held_up_by}")


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
