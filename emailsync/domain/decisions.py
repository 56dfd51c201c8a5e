"""What becomes of an account after a run: the whole table, in one place.

| what stopped the run      | result          | next sync          | attempt | circuits       |
|---------------------------|-----------------|--------------------|---------|----------------|
| nothing                   | DONE            | after the interval | 1       | success        |
| its quantum: there is more| SLICED          | now                | 1       | success        |
| QuotaSpent                | SLICED          | when it frees      | 1       | success        |
| Retryable, attempts left  | RETRY           | after the backoff  | + 1     | account        |
| Retryable, none left      | FAILED          | after 5 min, 25 .. | + 1     | account        |
| Unreachable               | as Retryable    |                    |         | and endpoint   |
| Throttled                 | THROTTLED       | 60 s or as asked   | same    | none           |
| AuthUnproven, 1st and 2nd | RETRY           | after 30 min       | same    | none           |
| AuthUnproven, 3rd in a row| NEEDS_RECONNECT | never by itself    | 1       | none           |
| AuthRefused               | NEEDS_RECONNECT | never by itself    | 1       | none           |
| Misconfigured             | MISCONFIGURED   | never by itself    | 1       | none           |
| OperatorMustAct           | FAILED          | after 5 min        | same    | none           |
| StoreUnavailable          | RETRY           | after 5 s          | same    | none           |
| LeaseLost                 | LEASE_LOST      | the new holder's   | same    | none           |
| anything else: our bug    | as Retryable    |                    |         | account        |
| the endpoint's circuit    | DEFERRED        | after 30 s at most | same    | none           |
| the daemon stops          | CANCELLED       | now                | same    | none           |
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    LeaseLost,
    Misconfigured,
    OperatorMustAct,
    QuotaSpent,
    StoreUnavailable,
    SyncError,
    Throttled,
    Unreachable,
)
from emailsync.domain.jobs import SyncJob
from emailsync.domain.retry import backoff, spread, throttle_wait
from emailsync.domain.runs import Outcome, RunResult

UNPROVEN_LIMIT: Final = 3  #: refusals without a code, in a row, that prove dead credentials
UNPROVEN_WAIT: Final = timedelta(minutes=30)
"""Three refusals then span an hour at least: a server's bad quarter of an hour parks nobody."""
OPERATOR_WAIT: Final = timedelta(minutes=5)
"""What was put right for all of them works for each within this time, nobody resumes anything."""
FAILED_WAIT: Final = timedelta(minutes=5)
"""Nothing was synced, so the account stays due and the next tick would take it, whatever its
interval. A failure that lasts costs a worker its time, so the waits grow, up to the interval."""
STORE_WAIT: Final = timedelta(seconds=5)
DEFERRED_WAIT: Final = timedelta(seconds=30)
"""A probe may succeed long before the circuit's own time, and a claim skips what is still open."""
HERD_SPREAD: Final = timedelta(seconds=10)
"""Accounts of one endpoint come back over so long, lest they storm it when its circuit allows."""
EARLY: Final = 0.05
"""Share of the interval by which jitter brings the next sync forward. What became due together
drifts apart again, and nobody waits longer than the interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how soon a queue tries a failed sync again."""

    attempts: int  #: tries of one sync in all, the first included
    base: timedelta  #: wait after the first failure


def decide(
    error: Exception | None,
    job: SyncJob,
    *,
    now: datetime,
    more: bool,
    policy: RetryPolicy,
    interval: timedelta,
    jitter: float,
) -> Outcome:
    """Return the outcome of a run.

    Args:
        error: what stopped it; None when nothing did.
        job: the job as it was run.
        now: when the run ended, aware UTC.
        more: the quantum was over before the account was up to date.
        policy: of the job's queue.
        interval: of the job's provider type and priority.
        jitter: uniform in [0, 1).
    """
    usual = _usual(interval, jitter)
    match error:
        case None:
            result, wait = (RunResult.SLICED, timedelta()) if more else (RunResult.DONE, usual)
            outcome = Outcome(result=result, next_sync_at=now + wait, attempt=1)
        case QuotaSpent():
            outcome = _sliced_by_quota(error, now=now)
        case Throttled():
            at = now + throttle_wait(error.retry_after, jitter=jitter)
            outcome = _again(RunResult.THROTTLED, job, error, at)
        case AuthUnproven():
            outcome = _after_unproven_refusal(error, job, now=now, jitter=jitter)
        case AuthRefused() | Misconfigured():
            outcome = _parked(error, job)
        case OperatorMustAct() | StoreUnavailable() | LeaseLost():
            outcome = _after_own_failure(error, job, now=now, jitter=jitter)
        case _:
            outcome = _after_failure(error, job, now=now, policy=policy, usual=usual, jitter=jitter)
    return outcome


def deferred(job: SyncJob, retry_at: datetime, *, now: datetime, jitter: float) -> Outcome:
    """Return the outcome of a job whose endpoint's circuit is open until `retry_at`."""
    return Outcome(
        result=RunResult.DEFERRED,
        next_sync_at=min(retry_at, now + DEFERRED_WAIT) + HERD_SPREAD * jitter,
        attempt=job.attempt,
        auth_refusals=job.auth_refusals,
        error=f"waiting for {job.endpoint}: too many failures in a row",
    )


def cancelled(job: SyncJob, *, now: datetime) -> Outcome:
    """Return the outcome of a run that the daemon cut short: due again at once."""
    return Outcome(
        result=RunResult.CANCELLED,
        next_sync_at=now,
        attempt=job.attempt,
        auth_refusals=job.auth_refusals,
    )


def _after_failure(
    error: Exception,
    job: SyncJob,
    *,
    now: datetime,
    policy: RetryPolicy,
    usual: timedelta,
    jitter: float,
) -> Outcome:
    failures = job.attempt - policy.attempts + 1  #: that no attempt is left for
    if failures < 1:
        result, wait = RunResult.RETRY, backoff(job.attempt, base=policy.base, jitter=jitter)
    else:
        again = backoff(failures, base=FAILED_WAIT, jitter=jitter)
        result, wait = RunResult.FAILED, min(again, usual)
    return Outcome(
        result=result,
        next_sync_at=now + wait,
        attempt=job.attempt + 1,
        auth_refusals=job.auth_refusals,
        error=_message_of(error),
        error_class=type(error).__name__,
        counts_on_account=True,
        counts_on_endpoint=isinstance(error, Unreachable),
    )


def _sliced_by_quota(error: QuotaSpent, *, now: datetime) -> Outcome:
    """Nothing failed, but people should see what it waits for."""
    return Outcome(
        result=RunResult.SLICED,
        next_sync_at=now + error.frees_in,
        attempt=1,
        error=error.message,
        error_class=type(error).__name__,
    )


def _after_own_failure(
    error: OperatorMustAct | StoreUnavailable | LeaseLost,
    job: SyncJob,
    *,
    now: datetime,
    jitter: float,
) -> Outcome:
    """A person has to act, so it failed; the database comes back by itself, so it is a retry."""
    match error:
        case OperatorMustAct():
            return _again(RunResult.FAILED, job, error, now + spread(OPERATOR_WAIT, jitter=jitter))
        case StoreUnavailable():
            return _again(RunResult.RETRY, job, error, now + spread(STORE_WAIT, jitter=jitter))
        case LeaseLost():  # when it is tried next is the new holder's
            return _again(RunResult.LEASE_LOST, job, error, None)


def _after_unproven_refusal(
    error: AuthUnproven, job: SyncJob, *, now: datetime, jitter: float
) -> Outcome:
    refusals = job.auth_refusals + 1
    if refusals >= UNPROVEN_LIMIT:
        return _parked(error, job)
    return Outcome(
        result=RunResult.RETRY,
        next_sync_at=now + spread(UNPROVEN_WAIT, jitter=jitter),
        attempt=job.attempt,
        auth_refusals=refusals,
        error=error.message,
        error_class=type(error).__name__,
    )


def _again(result: RunResult, job: SyncJob, error: SyncError, at: datetime | None) -> Outcome:
    """The run says nothing about the account: the same attempt once more."""
    return Outcome(
        result=result,
        next_sync_at=at,
        attempt=job.attempt,
        auth_refusals=job.auth_refusals,
        error=error.message,
        error_class=type(error).__name__,
    )


def _parked(error: AuthRefused | AuthUnproven | Misconfigured, job: SyncJob) -> Outcome:
    """Nothing is tried before a person has acted."""
    is_ours = isinstance(error, Misconfigured)
    return Outcome(
        result=RunResult.MISCONFIGURED if is_ours else RunResult.NEEDS_RECONNECT,
        next_sync_at=None,
        attempt=1,
        auth_refusals=job.auth_refusals,
        error=error.message,
        error_class=type(error).__name__,
    )


def _usual(interval: timedelta, jitter: float) -> timedelta:
    return interval * (1 - EARLY * jitter)


def _message_of(error: Exception) -> str:
    """A foreign exception may quote mail or secrets, so only its class is told."""
    return error.message if isinstance(error, SyncError) else "internal error, see the log"
