"""What one run of a sync job did and how it ended: a row of `sync_runs`, a line in the log."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class RunResult(StrEnum):
    """How a run ended; the values are stored."""

    DONE = "done"  #: the account is up to date
    SLICED = "sliced"  #: its quantum or its quota is over and there is more: back to the queue
    RETRY = "retry"  #: failed, tried again after the backoff
    FAILED = "failed"  #: failed, attempts used up: tried again in minutes, then ever later
    THROTTLED = "throttled"
    DEFERRED = "deferred"  #: a circuit is open
    NEEDS_RECONNECT = "needs_reconnect"
    MISCONFIGURED = "misconfigured"
    LEASE_LOST = "lease_lost"
    CANCELLED = "cancelled"  #: the daemon is stopping; what was stored stays


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncCounts:
    """What a run changed in the store."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    quarantined: int = 0
    pages: int = 0
    fetched_bytes: int = 0
    unexplained: int = 0  #: folders whose count still differs from the server's after a repair

    @property
    def changed(self) -> int:
        """Rows that an application would notice."""
        return self.created + self.updated + self.deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What becomes of the account after a run: the whole decision, ready to be stored."""

    result: RunResult
    next_sync_at: datetime | None  #: None: not before somebody acts
    attempt: int  #: of the next run: 1 after a success
    auth_refusals: int = 0  #: in a row, see `AuthUnproven`
    error: str | None = None  #: what stopped the run, even where nothing failed
    error_class: str | None = None  #: name of the `SyncError` subclass, or of the foreign exception
    counts_on_account: bool = False  #: a failure for the account's circuit
    counts_on_endpoint: bool = False  #: a failure for the endpoint's circuit


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One finished run, as stored and logged."""

    started_at: datetime
    duration: timedelta
    attempt: int
    outcome: Outcome
    counts: SyncCounts
    quota_units: int = 0  #: spent of the mailbox's quota, see quota_use.py
