"""Whom the next claim of one queue takes: the order of `claim_due` in sql/queries/leases.sql.

First by urgency, then by the tenant's turn (the account's rank in its tenant, the tenant's leases
counted in, over its weight), then by due time. Heaps hold that order for tens of thousands of
accounts; an entry that no longer tells the truth is dropped when it comes up, because each change
pushed a new one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from itertools import count

from emailsync.domain.accounts import TenantId
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import OVERDUE, Priority, urgency

Place = tuple[Priority, float, datetime]


@dataclass(slots=True, eq=False)
class LeasedAccount:
    """What a row of `provider_configs` says about scheduling; `job` is what the next claim gets."""

    job: SyncJob
    next_sync_at: datetime | None  #: None: not before somebody acts
    lease_until: datetime | None = None
    blocked_until: datetime | None = None  #: by the endpoint's circuit

    def claimable_at(self) -> datetime | None:
        """Return from when on a claim may take it; None: never by time alone."""
        if self.next_sync_at is None:
            return None
        moments = (self.next_sync_at, self.lease_until, self.blocked_until)
        return max(moment for moment in moments if moment is not None)


class ClaimOrder:
    """The accounts of one queue.

    Args:
        leases: how many accounts of each tenant are under lease, kept by the caller.
    """

    def __init__(self, leases: Mapping[TenantId, int]) -> None:
        self._leases = leases
        self._numbers = count()  #: equals among heap entries keep their order of arrival
        self._later: list[tuple[datetime, int, LeasedAccount]] = []
        self._ageing: list[tuple[datetime, int, LeasedAccount]] = []  #: more urgent from then on
        self._due: dict[TenantId, list[tuple[Priority, datetime, int, LeasedAccount]]] = {}
        self._turns: list[tuple[Place, int, TenantId]] = []

    def account_changed(self, account: LeasedAccount, now: datetime) -> None:
        """Take note that when the account may be claimed is another moment now, or a new one."""
        at = account.claimable_at()
        if at is not None:
            heappush(self._later, (at, next(self._numbers), account))
        self.tenant_changed(account.job.key.tenant_id, now)

    def tenant_changed(self, tenant: TenantId, now: datetime) -> None:
        """Take note that the tenant's leases are more or fewer now."""
        account = self._first_of(tenant, now)
        if account is not None:
            heappush(self._turns, (self._place(account, now), next(self._numbers), tenant))

    def first(self, now: datetime, *, tenant_share: int | None = None) -> LeasedAccount | None:
        """Return whom a claim takes first; None: nobody may be claimed now.

        Tenants that hold `tenant_share` leases are passed over.
        """
        self._become_due(now)
        passed_over = []
        found = None
        while self._turns and found is None:
            place, _, tenant = self._turns[0]
            account = self._first_of(tenant, now)
            if account is None or place != self._place(account, now):
                heappop(self._turns)
            elif tenant_share is not None and self._leases[tenant] >= tenant_share:
                passed_over.append(heappop(self._turns))
            else:
                found = account
        for turn in passed_over:
            heappush(self._turns, turn)
        return found

    def next_at(self, now: datetime) -> datetime | None:
        """Return when somebody may be claimed next; None: never by time alone."""
        if self.first(now) is not None:
            return now
        while self._later and self._later[0][2].claimable_at() != self._later[0][0]:
            heappop(self._later)
        return self._later[0][0] if self._later else None

    def _become_due(self, now: datetime) -> None:
        while self._later and self._later[0][0] <= now:
            at, number, account = heappop(self._later)
            if account.claimable_at() != at:
                continue
            assert account.next_sync_at is not None, "what may be claimed is due"
            self._line_up(account, number, now)
            heappush(self._ageing, (account.next_sync_at + OVERDUE, number, account))
        while self._ageing and self._ageing[0][0] <= now:
            _, number, account = heappop(self._ageing)
            self._line_up(account, number, now)

    def _line_up(self, account: LeasedAccount, number: int, now: datetime) -> None:
        if account.next_sync_at is not None:
            tenant = account.job.key.tenant_id
            entry = (_urgency(account, now), account.next_sync_at, number, account)
            heappush(self._due.setdefault(tenant, []), entry)
            self.tenant_changed(tenant, now)

    def _first_of(self, tenant: TenantId, now: datetime) -> LeasedAccount | None:
        due = self._due.get(tenant)
        while due:
            urgent, due_at, _, account = due[0]
            at = account.claimable_at()
            if (
                at is not None
                and at <= now
                and (urgent, due_at) == (_urgency(account, now), account.next_sync_at)
            ):
                return account
            heappop(due)
        self._due.pop(tenant, None)
        return None

    def _place(self, account: LeasedAccount, now: datetime) -> Place:
        job = account.job
        assert account.next_sync_at is not None, "what may be claimed is due"
        turn = (1 + self._leases[job.key.tenant_id]) / job.weight
        return _urgency(account, now), turn, account.next_sync_at


def _urgency(account: LeasedAccount, now: datetime) -> Priority:
    assert account.next_sync_at is not None, "what may be claimed is due"
    return urgency(account.job.priority, now - account.next_sync_at)
