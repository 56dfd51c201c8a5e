"""Where jobs wait that may not run yet: a lot for each limit, in it a heap for each queue.

It keeps the order and whose turn it is. It knows neither how full a limit is nor who works.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from emailsync.domain.fairness import Turns
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority, QueueName
from emailsync.scheduling.limits import Limit, LimitKind


@dataclass(slots=True, eq=False)
class WaitingJob:
    """A job in its queue, from `put` until a worker has it.

    Ordered by fair tag, at the same tag by priority, then by arrival; what was asked for goes
    before all others.
    """

    job: SyncJob
    tag: float
    arrival: int
    delay: asyncio.TimerHandle | None = None  #: until it becomes available
    blocked_by: Limit | None = None  #: the limit that blocked it last
    sent_by: Limit | None = None  #: the limit that freed and sent it back, until it has tried
    has_slot: bool = False  #: a slot of `sent_by` is reserved for it
    gone: bool = False  #: given up while it waited; to be skipped

    def __lt__(self, other: "WaitingJob") -> bool:
        return self._order() < other._order()

    def waits_for_its_tenant(self) -> bool:
        """Return whether it is parked because its tenant has its share already."""
        by = self.blocked_by
        return by is not None and by.kind is LimitKind.TENANT and self.sent_by is None

    def _order(self) -> tuple[bool, float, Priority, int]:
        return not self.job.requested, self.tag, self.job.priority, self.arrival


@dataclass(slots=True, eq=False)
class Lot:
    """The jobs that one limit blocks.

    `trying` counts those that were sent back to a busy queue without a slot, to try in their turn.
    """

    heaps: dict[QueueName, list[WaitingJob]] = field(default_factory=dict)
    trying: dict[QueueName, int] = field(default_factory=dict)
    turns: Turns = field(default_factory=Turns)
    timer: asyncio.TimerHandle | None = None  #: when time alone frees the limit

    def park(self, entry: WaitingJob) -> None:
        """Add a job."""
        heappush(self.heaps.setdefault(entry.job.queue, []), entry)

    def heads(self) -> Mapping[QueueName, WaitingJob]:
        """Return the next job of each queue that has one."""
        for queue in tuple(self.heaps):
            heap = self.heaps[queue]
            while heap and heap[0].gone:
                heappop(heap)
            if not heap:
                del self.heaps[queue]
        return {queue: heap[0] for queue, heap in self.heaps.items()}

    def pop_turn(self, weights: Mapping[QueueName, float]) -> WaitingJob:
        """Take the next job of whichever of these queues has the turn."""
        return heappop(self.heaps[self.turns.next(weights)])

    def pop_to_try(self, queue: QueueName) -> WaitingJob:
        """Take the next job of a queue, to try without a slot."""
        self.trying[queue] = self.trying.get(queue, 0) + 1
        return heappop(self.heaps[queue])

    def is_empty(self) -> bool:
        """Return whether nobody waits here or was sent to try."""
        return not self.heads() and not any(self.trying.values())
