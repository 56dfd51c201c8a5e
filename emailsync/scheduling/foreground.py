"""One full pass over chosen accounts, through the same queues, limits and workers as ever.

Each account is claimed again and again, due or not, until it is up to date or has finally failed.
A failure that the queue would try again is waited for, as long as the caller's patience goes.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import anyio

from emailsync.domain.accounts import AccountKey
from emailsync.domain.errors import StoreUnavailable
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import QueueName
from emailsync.domain.runs import RunRecord, RunResult
from emailsync.ports import ClaimRequest, Clock
from emailsync.scheduling.engine import SyncEngine

PATIENCE: Final = timedelta(minutes=10)
POLL: Final = timedelta(seconds=1)  #: between two tries to claim what somebody else holds
LOOKED_AT: Final = 10  #: accounts a poll, of those that could not be claimed
HELD_ELSEWHERE: Final = "another daemon holds it, or its server is spared for now"
GOES_ON: Final = frozenset({RunResult.LEASE_LOST, RunResult.CANCELLED})
TRIED_AGAIN: Final = frozenset(
    {RunResult.SLICED, RunResult.RETRY, RunResult.THROTTLED, RunResult.DEFERRED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountResult:
    """How an account ended: up to date, or the reason why not."""

    up_to_date: bool
    reason: str | None = None


@dataclass(slots=True)
class Pending:
    """An account that is not up to date yet."""

    claim_at: datetime
    stalled_since: datetime  #: it has not got ahead since
    open: bool = False  #: its job waits or runs here


async def _claimable_one_day(_key: AccountKey) -> str | None:
    return None


@dataclass(slots=True)
class ForegroundSync:
    """Feeds a running engine, which nobody else feeds.

    Args:
        engine: where the jobs run.
        clock: the time, which may be virtual.
        told: called after each run, with the account's result once it has one.
        why_never: tells why nobody can claim an account any more; None: it may be claimed yet.
        patience: how long an account may make no progress.
    """

    engine: SyncEngine
    clock: Clock
    told: Callable[[AccountKey, RunRecord | None, AccountResult | None], None]
    why_never: Callable[[AccountKey], Awaitable[str | None]] = _claimable_one_day
    patience: timedelta = PATIENCE
    _pending: dict[AccountKey, Pending] = field(default_factory=dict)
    _results: dict[AccountKey, AccountResult] = field(default_factory=dict)
    _changed: anyio.Event = field(default_factory=anyio.Event)

    async def run(self, accounts: Collection[AccountKey]) -> Mapping[AccountKey, AccountResult]:
        """Sync until each account has a result.

        Raises:
            StoreUnavailable: the store was away for longer than the patience goes.
        """
        now = self.clock.now()
        self._pending = {key: Pending(claim_at=now, stalled_since=now) for key in accounts}
        self.engine.listeners.append(self._job_finished)
        store_seen_at = now
        try:
            while self._pending:
                self._changed = anyio.Event()
                try:
                    await self._claim()
                    store_seen_at = self.clock.now()
                except StoreUnavailable:
                    if self.clock.now() - store_seen_at > self.patience:
                        raise
                self._give_up_on_the_unclaimable()
                with anyio.move_on_after(POLL.total_seconds()):
                    await self._changed.wait()
        finally:
            self.engine.listeners.remove(self._job_finished)
        return self._results

    async def _claim(self) -> None:
        """Claim what may be claimed now, as far as the queues have room for it."""
        now = self.clock.now()
        wanted = self._claimable(now)
        for queue in QueueName:
            room = self.engine.room(queue)
            if not wanted or not room:
                continue
            jobs = await self.engine.claim(ClaimRequest(queue=queue, limit=room, only=wanted))
            for job in jobs:
                self._pending[job.key].open = True
            wanted = self._claimable(now)
        for key in wanted:
            self._pending[key].claim_at = now + POLL  # others come first then
        for key in wanted[:LOOKED_AT]:
            self._pending[key] = self._pending.pop(key)  # next time it is another's turn
            if reason := await self.why_never(key):
                self._conclude(key, None, reason)

    def _claimable(self, now: datetime) -> Sequence[AccountKey]:
        room = sum(self.engine.room(queue) for queue in QueueName)
        due = [key for key, it in self._pending.items() if not it.open and it.claim_at <= now]
        return due[:room]

    def _give_up_on_the_unclaimable(self) -> None:
        now = self.clock.now()
        if any(not self.engine.room(queue) for queue in QueueName):
            return  # perhaps it is only the queue that is full
        for key, pending in tuple(self._pending.items()):
            if not pending.open and now - pending.stalled_since > self.patience:
                self._conclude(key, None, HELD_ELSEWHERE)

    def _job_finished(self, job: SyncJob, record: RunRecord) -> None:
        pending = self._pending.get(job.key)
        if pending is None:
            return
        now, outcome = self.clock.now(), record.outcome
        pending.open = False
        pending.claim_at = max(now, outcome.next_sync_at or now)
        if outcome.result is RunResult.SLICED and (outcome.error is None or record.counts.changed):
            pending.stalled_since = now  # with its quota spent it may not have begun
        if outcome.result is RunResult.DONE:
            self._conclude(job.key, record, None)
        elif outcome.result in GOES_ON or (
            outcome.result in TRIED_AGAIN
            and pending.claim_at - pending.stalled_since <= self.patience
        ):
            self.told(job.key, record, None)
        else:
            self._conclude(job.key, record, outcome.error or outcome.result.value)
        self._changed.set()

    def _conclude(self, key: AccountKey, record: RunRecord | None, reason: str | None) -> None:
        del self._pending[key]
        self._results[key] = AccountResult(up_to_date=reason is None, reason=reason)
        self.told(key, record, self._results[key])
