"""F32: the reason decides, not the status."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from emailsync.domain.errors import AuthRefused, OperatorMustAct, SyncError, Throttled
from emailsync.providers.gmail.refusals import TooManyAtOnce, gmail_refusal, until_reset
from emailsync.providers.http_messages import Answer
from emailsync.providers.quota import ProjectThrottled

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def answer(status: int, reason: str, message: str = "", details: list[Any] | None = None) -> Answer:
    error = {
        "code": status,
        "message": message,
        "errors": [{"domain": "usageLimits", "reason": reason, "message": message}],
        "details": details or [],
    }
    return Answer(status=status, headers={}, body=orjson.dumps({"error": error}), received_at=NOW)


def quota(limit: str) -> str:
    return f"Quota exceeded for quota metric 'Queries' and limit '{limit}' of service 'x'."


RETRY_AFTER = "User-rate limit exceeded.  Retry after 2026-07-01T12:05:00.000Z"
TABLE: list[tuple[int, str, str, type[SyncError] | None]] = [
    (403, "userRateLimitExceeded", "User Rate Limit Exceeded", Throttled),
    (429, "userRateLimitExceeded", "User Rate Limit Exceeded", Throttled),
    (403, "rateLimitExceeded", "Rate Limit Exceeded", ProjectThrottled),
    (429, "rateLimitExceeded", "Rate Limit Exceeded", ProjectThrottled),
    (429, "rateLimitExceeded", RETRY_AFTER, Throttled),
    (429, "rateLimitExceeded", "Too many concurrent requests for user", TooManyAtOnce),
    (429, "rateLimitExceeded", quota("Queries per minute per user"), Throttled),
    (403, "rateLimitExceeded", quota("Queries per minute"), ProjectThrottled),
    (429, "rateLimitExceeded", quota("Queries per day"), ProjectThrottled),
    (403, "dailyLimitExceeded", "Daily Limit Exceeded", ProjectThrottled),
    (403, "domainPolicy", "The domain administrators have disabled Gmail apps.", AuthRefused),
    (403, "insufficientPermissions", "Insufficient Permission", AuthRefused),
    (403, "forbidden", "Delegation denied for a@example.com", AuthRefused),
    (400, "failedPrecondition", "Mail service not enabled", AuthRefused),
    (403, "accessNotConfigured", "Gmail API has not been used in project 1", OperatorMustAct),
    # What the status alone decides, see http_failures.py.
    (403, "forbidden", "Forbidden", None),
    (429, "unheardOf", "Slow down", None),
    (400, "badRequest", "Bad Request", None),
    (401, "authError", "Invalid Credentials", None),
    (404, "notFound", "Not Found", None),
    (500, "backendError", "Backend Error", None),
    (503, "rateLimitExceeded", "not that status", None),
]


@pytest.mark.parametrize(("status", "reason", "message", "expected"), TABLE)
def test_each_refusal_means_what_its_reason_says(
    status: int, reason: str, message: str, expected: type[SyncError] | None
) -> None:
    error = gmail_refusal(answer(status, reason, message))

    assert (None if error is None else type(error)) is expected


def test_the_new_style_of_reasons_is_read_too() -> None:
    details = [{"reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}, "noise", {"reason": 7}]

    error = gmail_refusal(answer(403, "", details=details))

    assert isinstance(error, AuthRefused)


def test_the_time_in_the_text_is_waited_for() -> None:
    error = gmail_refusal(answer(429, "rateLimitExceeded", RETRY_AFTER))

    assert isinstance(error, Throttled)
    assert error.retry_after == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("now", "wait"),
    [
        (datetime(2026, 7, 1, 12, tzinfo=UTC), timedelta(hours=19)),  # summer: midnight is 07:00
        (datetime(2026, 1, 1, 12, tzinfo=UTC), timedelta(hours=20)),  # winter: midnight is 08:00
        (datetime(2026, 1, 1, 7, 59, tzinfo=UTC), timedelta(minutes=1)),
        (datetime(2026, 3, 8, 8, tzinfo=UTC), timedelta(hours=23)),  # the clock goes forward
    ],
)
def test_a_day_ends_at_midnight_in_los_angeles(now: datetime, wait: timedelta) -> None:
    assert until_reset(now) == wait


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"error": "x"}', b'{"error": {"errors": 7}}', b"\xff"]
)
def test_an_answer_that_is_no_error_of_gmails_says_nothing(body: bytes) -> None:
    said = Answer(status=403, headers={}, body=body, received_at=NOW)

    assert gmail_refusal(said) is None
