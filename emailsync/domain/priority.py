"""How urgent an account is, computed from its tenant each time and never remembered."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final, assert_never

PREMIUM_PLAN: Final = "premium"
HIGH_WITHIN: Final = timedelta(hours=1)  #: of the tenant's last login
NORMAL_WITHIN: Final = timedelta(hours=24)
OVERDUE: Final = timedelta(minutes=10)
"""Who has waited so long goes with the most urgent of its queue: strict priority starves."""


class Priority(IntEnum):
    """The smaller, the more urgent; the numbers are stored in `sync_priority`."""

    CRITICAL = 1
    HIGH = 2
    NORMAL = 3
    LOW = 4


class QueueName(StrEnum):
    """The three queues; each claims for itself and has its own workers, so LOW always moves."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How long after a sync the next one is due, for one provider type."""

    critical: timedelta
    high: timedelta
    normal: timedelta
    low: timedelta

    def of(self, priority: Priority) -> timedelta:
        """Return the interval of `priority`."""
        match priority:
            case Priority.CRITICAL:
                return self.critical
            case Priority.HIGH:
                return self.high
            case Priority.NORMAL:
                return self.normal
            case Priority.LOW:
                return self.low
        assert_never(priority)


def priority_of(plan: str | None, last_login_at: datetime | None, now: datetime) -> Priority:
    """Return the priority of every account of a tenant.

    The claim computes the same in SQL (`reprioritise` in leases.sql); a test holds the two
    together.
    """
    if plan == PREMIUM_PLAN:
        return Priority.CRITICAL
    if last_login_at is None:
        return Priority.LOW
    since_login = now - last_login_at
    if since_login < HIGH_WITHIN:
        return Priority.HIGH
    if since_login < NORMAL_WITHIN:
        return Priority.NORMAL
    return Priority.LOW


def urgency(priority: Priority, overdue: timedelta) -> Priority:
    """Return with whom an account is claimed that is due since `overdue`.

    The claim computes the same in SQL (`claim_due` in leases.sql); a test holds the two together.
    """
    return Priority.CRITICAL if overdue >= OVERDUE else priority


def queue_of(priority: Priority) -> QueueName:
    """Return the queue that carries jobs of `priority`."""
    if priority <= Priority.HIGH:
        return QueueName.HIGH
    if priority is Priority.NORMAL:
        return QueueName.NORMAL
    return QueueName.LOW


def priorities_of(queue: QueueName) -> tuple[Priority, ...]:
    """Return the priorities that `queue` carries, most urgent first."""
    return tuple(priority for priority in Priority if queue_of(priority) is queue)
