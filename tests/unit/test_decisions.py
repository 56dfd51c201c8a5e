"""The table of decisions, for every class a run can end with."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from emailsync.domain import errors
from emailsync.domain.accounts import AccountId, AccountKey, ProviderType, TenantId
from emailsync.domain.decisions import RetryPolicy, cancelled, decide, deferred
from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    FolderGone,
    LeaseLost,
    Misconfigured,
    OperatorMustAct,
    QuotaSpent,
    Retryable,
    ServerRefused,
    StoreUnavailable,
    SyncError,
    Throttled,
    Unreachable,
)
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority
from emailsync.domain.runs import Outcome, RunResult

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
INTERVAL = timedelta(minutes=30)
POLICY = RetryPolicy(attempts=3, base=timedelta(seconds=5))
NEVER = None


def job(*, attempt: int = 2, auth_refusals: int = 0) -> SyncJob:
    return SyncJob(
        key=AccountKey(TenantId("t"), AccountId(UUID(int=1))),
        provider_type=ProviderType.IMAP,
        endpoint="mail.example.test:993",
        priority=Priority.NORMAL,
        weight=1,
        epoch=1,
        attempt=attempt,
        crashes=0,
        auth_refusals=auth_refusals,
        due_at=NOW,
        last_synced_at=None,
    )


def decided(
    error: Exception | None, of: SyncJob | None = None, *, more: bool = False, jitter: float = 0
) -> Outcome:
    return decide(
        error, of or job(), now=NOW, more=more, policy=POLICY, interval=INTERVAL, jitter=jitter
    )


def seconds(wait: float) -> datetime:
    return NOW + timedelta(seconds=wait)


TABLE: list[tuple[Exception | None, RunResult, datetime | None, int, bool, bool]] = [
    # error, result, next sync, attempt, counts on account, counts on endpoint
    (None, RunResult.DONE, NOW + INTERVAL, 1, False, False),
    (Retryable("x"), RunResult.RETRY, seconds(25), 3, True, False),
    (ServerRefused("x"), RunResult.RETRY, seconds(25), 3, True, False),
    (FolderGone("x"), RunResult.RETRY, seconds(25), 3, True, False),
    (Unreachable("x"), RunResult.RETRY, seconds(25), 3, True, True),
    (Throttled("x"), RunResult.THROTTLED, seconds(60), 2, False, False),
    (AuthRefused("x"), RunResult.NEEDS_RECONNECT, NEVER, 1, False, False),
    (AuthUnproven("x"), RunResult.RETRY, seconds(1_800), 2, False, False),
    (Misconfigured("x"), RunResult.MISCONFIGURED, NEVER, 1, False, False),
    (OperatorMustAct("x"), RunResult.FAILED, seconds(300), 2, False, False),
    (LeaseLost("x"), RunResult.LEASE_LOST, NEVER, 2, False, False),
    (StoreUnavailable("x"), RunResult.RETRY, seconds(5), 2, False, False),
    (KeyError("secret"), RunResult.RETRY, seconds(25), 3, True, False),
]


@pytest.mark.parametrize(
    ("error", "result", "next_sync_at", "attempt", "on_account", "on_endpoint"),
    TABLE,
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_each_class_of_failure_has_its_decision(
    *,
    error: Exception | None,
    result: RunResult,
    next_sync_at: datetime | None,
    attempt: int,
    on_account: bool,
    on_endpoint: bool,
) -> None:
    outcome = decided(error)

    assert outcome.result is result
    assert outcome.next_sync_at == next_sync_at
    assert outcome.attempt == attempt
    assert outcome.counts_on_account is on_account
    assert outcome.counts_on_endpoint is on_endpoint
    assert outcome.error_class == (None if error is None else type(error).__name__)


def test_the_table_names_every_class() -> None:
    """A new error class is a new decision, so it has to be added here."""
    classes = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, SyncError) and value is not SyncError
    }

    assert classes <= {type(error) for error, *_ in TABLE} | {QuotaSpent}


def test_a_spent_quota_is_no_failure_and_the_sync_goes_on_when_it_frees() -> None:
    outcome = decided(QuotaSpent("x", timedelta(seconds=12)))

    assert outcome.result is RunResult.SLICED
    assert outcome.next_sync_at == seconds(12)
    assert outcome.attempt == 1
    assert (outcome.error, outcome.error_class) == ("x", "QuotaSpent")
    assert not outcome.counts_on_account
    assert not outcome.counts_on_endpoint


def test_a_run_that_has_more_to_do_is_due_at_once_and_starts_its_attempts_again() -> None:
    outcome = decided(None, more=True)

    assert outcome == Outcome(result=RunResult.SLICED, next_sync_at=NOW, attempt=1)


@pytest.mark.parametrize(("attempt", "minutes"), [(3, 5), (4, 25), (5, 30), (1_000, 30)])
def test_after_the_last_attempt_the_account_is_tried_again_ever_later_up_to_its_interval(
    attempt: int, minutes: int
) -> None:
    """The queue of the lowest priority has one attempt, and an interval of hours."""
    outcome = decided(Unreachable("no answer"), job(attempt=attempt))

    assert outcome.result is RunResult.FAILED
    assert outcome.next_sync_at == NOW + timedelta(minutes=minutes)
    assert outcome.attempt == attempt + 1
    assert outcome.counts_on_account
    assert outcome.counts_on_endpoint


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        (None, 60),
        (timedelta(seconds=1), 60),
        (timedelta(seconds=90), 90),
        (timedelta(days=3650), 3600),
        (timedelta(days=-1), 60),
    ],
)
def test_a_throttled_account_waits_a_minute_or_what_the_provider_asks(
    asked: timedelta | None, waited: float
) -> None:
    outcome = decided(Throttled("slow down", asked))

    assert outcome.next_sync_at == seconds(waited)


def test_three_refusals_without_a_code_span_an_hour_and_the_third_parks_the_account() -> None:
    first = decided(AuthUnproven("no"), job(auth_refusals=0))
    second = decided(AuthUnproven("no"), job(auth_refusals=first.auth_refusals))
    third = decided(AuthUnproven("no"), job(auth_refusals=second.auth_refusals))

    assert first.next_sync_at is not None
    assert second.next_sync_at is not None
    assert (first.next_sync_at - NOW) + (second.next_sync_at - NOW) >= timedelta(hours=1)
    assert [first.result, second.result] == [RunResult.RETRY, RunResult.RETRY]
    assert third.result is RunResult.NEEDS_RECONNECT


def test_a_login_that_works_forgets_earlier_refusals_and_a_lost_network_does_not() -> None:
    after_success = decided(None, job(auth_refusals=2))
    after_outage = decided(Unreachable("no route"), job(auth_refusals=2))

    assert after_success.auth_refusals == 0
    assert after_outage.auth_refusals == 2


def test_the_text_of_a_foreign_exception_is_not_shown() -> None:
    """It may quote mail or a secret; its class is enough to find the traceback in the log."""
    outcome = decided(KeyError("hunter2"))

    assert outcome.error is not None
    assert "hunter2" not in outcome.error
    assert outcome.error_class == "KeyError"


def test_jitter_brings_the_next_sync_forward_by_at_most_a_tenth_of_the_interval() -> None:
    earliest = decided(None, jitter=0.999).next_sync_at

    assert earliest is not None
    assert NOW + INTERVAL * 0.9 <= earliest < NOW + INTERVAL


def test_a_deferred_or_cancelled_job_keeps_its_attempt_and_blames_nobody() -> None:
    waiting = deferred(job(attempt=2, auth_refusals=1), seconds(300), now=NOW, jitter=0)
    stopped = cancelled(job(attempt=2, auth_refusals=1), now=NOW)

    assert (waiting.result, waiting.next_sync_at) == (RunResult.DEFERRED, seconds(30))
    assert (stopped.result, stopped.next_sync_at) == (RunResult.CANCELLED, NOW)
    for outcome in (waiting, stopped):
        assert (outcome.attempt, outcome.auth_refusals) == (2, 1)
        assert not outcome.counts_on_account
        assert not outcome.counts_on_endpoint


def test_accounts_behind_a_probe_come_back_when_it_ends_and_not_all_at_once() -> None:
    soonest = deferred(job(), seconds(7), now=NOW, jitter=0)
    latest = deferred(job(), seconds(7), now=NOW, jitter=0.999)

    assert soonest.next_sync_at == seconds(7)
    assert latest.next_sync_at is not None
    assert latest.next_sync_at > seconds(16)
