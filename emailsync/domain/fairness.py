"""Whose turn it is inside a queue: start-time fair queueing over tenants.

A tenant's jobs get tags that grow by 1/weight; the smallest tag goes first. A tenant that was
away starts at the virtual time, which is the tag being served, so it neither saves up turns nor
waits behind a crowd that came before it.

Source: Goyal, Vin, Cheng, "Start-time Fair Queueing" (1996), section 2.
"""

from heapq import heappop, heappush

from emailsync.domain.accounts import TenantId


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
