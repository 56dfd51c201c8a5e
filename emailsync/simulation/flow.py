"""How long a full cycle takes, by flows in place of jobs: what a simulation comes to, at once.

Syncs flow through the workers and limiters of the queues and through the concurrency of the
provider types. Who was synced flows back after its interval and competes with who was not: that is
what makes a cycle of many tenants longer than their number tells.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from emailsync.config import Settings
from emailsync.domain.accounts import ProviderType
from emailsync.domain.priority import Priority, QueueName, queue_of
from emailsync.scheduling.limits import endpoint_slots
from emailsync.simulation.population import Crowd

STEPS: Final = 400  #: of the time that is looked at
NOTHING: Final = 1e-6  #: accounts below this are rounding errors
ALL_BUT: Final = 0.5  #: accounts; fewer are nobody

Share = tuple[Priority, ProviderType]
Group = dict[Share, float]  #: accounts that became due together, the most urgent first


@dataclass(frozen=True, slots=True)
class Cycle:
    """Until everybody was synced once."""

    duration_s: float | None  #: None: it takes longer than was looked at
    held_up_by: str  #: the key that bounds those who come last


def full_cycle(settings: Settings, crowd: Crowd, *, sync_s: float, within_s: float) -> Cycle:
    """Return how long it takes to sync a crowd that is due at once.

    Args:
        settings: the limits and intervals.
        crowd: how many there are.
        sync_s: how long a sync takes on average.
        within_s: how far to look.
    """
    flow = _Flow(settings, crowd, sync_s, within_s / STEPS)
    for step in range(STEPS):
        flow.advance(step)
        if flow.unsynced < ALL_BUT:
            return Cycle((step + 1) * within_s / STEPS, flow.held_up_by)
    return Cycle(None, flow.held_up_by)


class _Flow:
    """The state between two steps. Amounts are accounts, or parts of them."""

    def __init__(self, settings: Settings, crowd: Crowd, sync_s: float, step_s: float) -> None:
        shares = _shares(crowd)
        self._never_synced = {queue: _of_queue(shares, queue) for queue in QueueName}
        self._lines = {queue: deque([group]) for queue, group in self._never_synced.items()}
        self._returning: defaultdict[int, Group] = defaultdict(dict)  #: by the step they are due in
        workers, self._queue_keys = _workers(settings, sync_s)
        types, self._type_keys = _types(settings, crowd)
        self._of_queues = {queue: slots * step_s / sync_s for queue, slots in workers.items()}
        self._of_types = {kind: slots * step_s / sync_s for kind, slots in types.items()}
        self._steps = {
            (priority, kind): max(
                1, round(settings.intervals.of(kind).of(priority).total_seconds() / step_s)
            )
            for priority, kind in shares
        }
        self.held_up_by = ""

    @property
    def unsynced(self) -> float:
        """Return how many were never synced."""
        return sum(sum(group.values()) for group in self._never_synced.values())

    def advance(self, step: int) -> None:
        """Let one step's time pass.

        A full type holds no worker: what it leaves goes to the others, in the next turn.
        """
        returning = self._returning.pop(step, {})
        for queue, line in self._lines.items():
            line.append(_of_queue(returning, queue))
            while line and sum(line[0].values()) < NOTHING:
                line.popleft()
        queues, types = dict(self._of_queues), dict(self._of_types)
        for _ in self._of_types:
            wanted = {queue: self._wanted(queue, room, types) for queue, room in queues.items()}
            for kind, free in tuple(types.items()):
                of_type = sum(each[kind] for each in wanted.values())
                fits = min(1.0, free / of_type) if of_type > NOTHING else 0.0
                for queue, each in wanted.items():
                    each[kind] *= fits
                    queues[queue] -= each[kind]
                types[kind] -= of_type * fits
            for queue, each in wanted.items():
                self._sync(queue, each, step)
        self._note_bottleneck(types)

    def _wanted(
        self, queue: QueueName, room: float, types: Mapping[ProviderType, float]
    ) -> dict[ProviderType, float]:
        """Return what the queue would sync, first come first served, of types that are not full."""
        wanted = dict.fromkeys(types, 0.0)
        for group in self._lines[queue]:
            for (_, kind), due in group.items():
                taken = min(room, due) if types[kind] > NOTHING else 0.0
                wanted[kind] += taken
                room -= taken
            if room < NOTHING:
                break
        return wanted

    def _sync(self, queue: QueueName, amounts: dict[ProviderType, float], step: int) -> None:
        """Sync so much of each type, which is due again after its interval."""
        for group in self._lines[queue]:
            for share, due in group.items():
                synced = min(due, amounts[share[1]])
                group[share] -= synced
                amounts[share[1]] -= synced
                again = self._returning[step + self._steps[share]]
                again[share] = again.get(share, 0.0) + synced
            if sum(amounts.values()) < NOTHING:
                break

    def _note_bottleneck(self, free: Mapping[ProviderType, float]) -> None:
        """Remember what holds up the largest group of those who were never synced."""
        if self.unsynced < ALL_BUT:
            return
        groups = self._never_synced.items()
        (queue, (_, kind)) = max(
            ((queue, share) for queue, group in groups for share in group),
            key=lambda each: self._never_synced[each[0]][each[1]],
        )
        is_type = free[kind] < NOTHING
        self.held_up_by = self._type_keys[kind] if is_type else self._queue_keys[queue]


def _of_queue(group: Group, queue: QueueName) -> Group:
    return {share: amount for share, amount in group.items() if queue_of(share[0]) is queue}


def _shares(crowd: Crowd) -> Group:
    """Return how many accounts there are of each priority and type."""
    mix = crowd.mix
    weights = dict(zip(Priority, (mix.critical, mix.high, mix.normal, mix.low), strict=True))
    accounts = crowd.tenants * crowd.accounts_per_tenant
    of_each = accounts / sum(weights.values()) / len(crowd.provider_types)
    return {
        (priority, kind): of_each * weight * list(crowd.provider_types).count(kind)
        for priority, weight in weights.items()
        for kind in dict.fromkeys(crowd.provider_types)
    }


def _workers(
    settings: Settings, sync_s: float
) -> tuple[Mapping[QueueName, float], Mapping[QueueName, str]]:
    """Return how many workers each queue keeps busy, and the key that bounds it."""
    workers: dict[QueueName, float] = {}
    keys: dict[QueueName, str] = {}
    for queue in QueueName:
        of_queue = settings.queues.of(queue)
        per_s = of_queue.limiter_max * 1_000 / of_queue.limiter_duration_ms
        workers[queue] = min(of_queue.concurrency, per_s * sync_s)
        key = "concurrency" if of_queue.concurrency <= per_s * sync_s else "limiter_max"
        keys[queue] = f"queues.{queue.value}.{key}"
    return workers, keys


def _types(
    settings: Settings, crowd: Crowd
) -> tuple[Mapping[ProviderType, float], Mapping[ProviderType, str]]:
    """Return how many syncs of each type may run at once, and the key that bounds it."""
    slots: dict[ProviderType, float] = {}
    keys: dict[ProviderType, str] = {}
    for kind in dict.fromkeys(crowd.provider_types):
        limits = settings.limits.of(kind)
        of_host = endpoint_slots(limits)
        on_hosts = limits.concurrent if of_host is None else of_host * crowd.imap_hosts
        slots[kind] = min(limits.concurrent, on_hosts)
        key = "concurrent" if limits.concurrent <= on_hosts else "connections_per_host"
        keys[kind] = f"limits.{kind.value}.{key}"
    return slots, keys
