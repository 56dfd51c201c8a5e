"""Whose turn it is: tenants inside a queue, and queues at a limit that they share.

Tenants are ordered by start-time fair queueing: a tenant's jobs get tags that grow by 1/weight,
and the smallest tag goes first. A tenant that was away starts at the virtual time, which is the
tag being served, so it neither saves up turns nor waits behind a crowd that came before it
(Goyal, Vin, Cheng, "Start-time Fair Queueing", 1996, section 2).
"""

from collections.abc import Mapping
from heapq import heappop, heappush

from emailsync.domain.accounts import TenantId
from emailsync.domain.priority import QueueName


class FairClock:
    """The virtual time of one queue and where each waiting tenant stands in it."""

    def __init__(self) -> None:
        self._now = 0.0
        self._finish: dict[TenantId, float] = {}  #: end of the last tag handed out, ahead of now
        self._by_finish: list[tuple[float, TenantId]] = []

    def tag(self, tenant: TenantId, weight: float, cost: float = 1) -> float:
        """Return the place of the tenant's next job.

        Raises:
            ValueError: `weight` or `cost` is not positive.
        """
        if weight <= 0 or cost <= 0:
            raise ValueError(f"weight={weight} and cost={cost} must be positive")
        start = max(self._now, self._finish.get(tenant, 0))
        self._finish[tenant] = start + cost / weight
        heappush(self._by_finish, (self._finish[tenant], tenant))
        return start

    def advance(self, tag: float) -> None:
        """Note that the job of this tag is served now; virtual time never goes back."""
        self._now = max(self._now, tag)
        self._forget()

    def rest(self) -> None:
        """Note that nothing waits or runs: everybody starts level again."""
        self._now = max([self._now, *self._finish.values()])
        self._forget()

    def _forget(self) -> None:
        while self._by_finish and self._by_finish[0][0] <= self._now:
            finish, tenant = heappop(self._by_finish)
            if self._finish.get(tenant) == finish:
                del self._finish[tenant]

    def __len__(self) -> int:
        return len(self._finish)


class Turns:
    """Smooth weighted round robin: with 5/3/2 nobody gets five turns in a row.

    Source: nginx, ngx_http_upstream_round_robin.c (2012).
    """

    def __init__(self) -> None:
        self._credit: dict[QueueName, float] = {}

    def next(self, weights: Mapping[QueueName, float]) -> QueueName:
        """Return whose turn it is among the queues that want one, and take it.

        Raises:
            ValueError: nobody wants a turn.
        """
        for queue, weight in weights.items():
            self._credit[queue] = self._credit.get(queue, 0) + weight
        chosen = max(weights, key=lambda queue: self._credit[queue])
        self._credit[chosen] -= sum(weights.values())
        return chosen
