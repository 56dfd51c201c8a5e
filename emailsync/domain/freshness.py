"""Whether an account is as fresh as it should be, and if it is not, whether anybody knows why.

| activity | the account                                                                      |
|----------|----------------------------------------------------------------------------------|
| stopped  | is paused, switched off, or waits for a person: its status says which            |
| idle     | is not due yet                                                                   |
| waiting  | is kept back for a known reason: an open circuit, the pause after a failure      |
| due      | may be claimed, and will be by the next daemon with room                         |
| syncing  | is held by a daemon: it is being synced, or waits in that daemon's queue         |
| stalled  | is due for longer than its interval though nothing keeps it back, or is held for |
|          | `HELD_AT_MOST` without a run that ended                                          |

The metrics count the stalled ones in SQL (`freshness` in overview.sql); a test holds the two
together.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from emailsync.domain.accounts import AccountStatus
from emailsync.domain.circuit import Circuit

PATIENCE_AT_LEAST: Final = timedelta(minutes=15)
"""Short intervals slip by a few minutes whenever many accounts are due at once."""
HELD_AT_MOST: Final = timedelta(hours=1)
"""A run ends or is cut into slices within a minute, and a full queue is through in half an hour."""


class Activity(StrEnum):
    """What becomes of an account right now; see the table above."""

    STOPPED = "stopped"
    IDLE = "idle"
    WAITING = "waiting"
    DUE = "due"
    SYNCING = "syncing"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """How an account stood at one moment. All times are aware UTC, by the database's clock."""

    now: datetime
    status: AccountStatus
    is_active: bool
    is_failing: bool  #: the last run failed or was asked to wait
    created_at: datetime
    last_synced_at: datetime | None
    next_sync_at: datetime  #: in the past while it is due or held; means nothing while stopped
    leased_at: datetime | None  #: None: nobody holds it
    circuit: Circuit
    endpoint_circuit: Circuit

    @property
    def is_stopped(self) -> bool:
        """Whether nothing syncs it before a person has acted."""
        return self.status is not AccountStatus.ACTIVE or not self.is_active

    @property
    def claimable_at(self) -> datetime:
        """From when on it may be claimed: due, and let through by both circuits."""
        retries = (self.circuit.retry_at, self.endpoint_circuit.retry_at)
        return max([self.next_sync_at, *(at for at in retries if at is not None)])

    @property
    def next_try_at(self) -> datetime | None:
        """When it is tried next; None: somebody holds it, it is due, or a person has to act."""
        if self.is_stopped or self.leased_at is not None or self.claimable_at <= self.now:
            return None
        return self.claimable_at

    def activity(self, interval: timedelta) -> Activity:
        """Return what becomes of it now; `interval` is that of its type and priority."""
        if self.is_stopped:
            return Activity.STOPPED
        if self.leased_at is not None:
            is_stuck = self.now - self.leased_at >= HELD_AT_MOST
            return Activity.STALLED if is_stuck else Activity.SYNCING
        if self.claimable_at > self.now:
            is_kept_back = self.is_failing or self.claimable_at > self.next_sync_at
            return Activity.WAITING if is_kept_back else Activity.IDLE
        is_late = self.now - self.claimable_at >= max(interval, PATIENCE_AT_LEAST)
        return Activity.STALLED if is_late else Activity.DUE

    def unsynced_for(self, interval: timedelta) -> timedelta:
        """Return by how much it is older than its interval allows, whatever the reason; or zero.

        One that was never synced counts from when it was added.
        """
        if self.is_stopped:
            return timedelta()
        age = self.now - (self.last_synced_at or self.created_at)
        return max(age - interval, timedelta())
