"""The order in which the simulation claims: the same as the database's."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from emailsync.domain.priority import OVERDUE, Priority
from emailsync.simulation.claim_order import ClaimOrder, LeasedAccount
from jobs import job_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def account(tenant: str, priority: Priority, due_at: datetime) -> LeasedAccount:
    return LeasedAccount(job_of(tenant, priority=priority, due_at=due_at), next_sync_at=due_at)


def test_who_is_overdue_for_long_goes_with_the_most_urgent() -> None:
    """Each minute brings a fresh critical account, and one account is claimed."""
    order = ClaimOrder(Counter())
    waiting = account("waiting", Priority.HIGH, NOW)
    order.account_changed(waiting, NOW)
    order.account_changed(account("premium 0", Priority.CRITICAL, NOW), NOW)

    claimed_after = None
    for minute in range(30):
        now = NOW + timedelta(minutes=minute)
        fresh = account(f"premium {minute + 1}", Priority.CRITICAL, now)
        order.account_changed(fresh, now)
        first = order.first(now)
        assert first is not None
        if first is waiting:
            claimed_after = now - NOW
            break
        first.next_sync_at = None
        order.account_changed(first, now)

    assert claimed_after == OVERDUE
