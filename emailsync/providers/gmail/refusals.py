"""What Gmail's refusals mean: status, reason and text of an error -> a `SyncError`.

The rules are a table, first match wins; what no rule knows is judged by its status. The reason
decides before the status: Google gives 403 or 429 for the same quota. Texts are read only where
one reason stands for two quotas.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from emailsync.domain.errors import AuthRefused, OperatorMustAct, SyncError, Throttled
from emailsync.domain.retry_after import retry_after_in
from emailsync.providers.http_messages import Answer
from emailsync.providers.quota import ProjectThrottled

RESET_ZONE: Final = ZoneInfo("America/Los_Angeles")  #: daily quotas begin anew at its midnight
MAX_READ_CHARS: Final = 1_000  #: of a text

BAD_PARAMETER: Final = frozenset({"invalidArgument", "badRequest", "invalidParameter"})
LIMITED: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})


class TooManyAtOnce(Throttled):
    """The mailbox's limit of concurrent requests: a smaller batch may pass at once."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What an answer says of its failure."""

    status: int
    reasons: frozenset[str]
    text: str
    wait: timedelta | None  #: what it asks for, in a header or in its text
    at: datetime  #: when it came, aware UTC


Make = Callable[[Problem], SyncError]


@dataclass(frozen=True, slots=True)
class Rule:
    """If a reason or the text fits, and the status is one of these, it means `make`."""

    make: Make
    statuses: frozenset[int]
    reasons: frozenset[str] = frozenset()
    text: re.Pattern[str] | None = None

    def fits(self, problem: Problem) -> bool:
        """Return whether the rule speaks of this problem."""
        if problem.status not in self.statuses:
            return False
        if self.reasons & problem.reasons:
            return True
        return self.text is not None and self.text.search(problem.text) is not None


def _by_reason(make: Make, *reasons: str, statuses: frozenset[int] = LIMITED) -> Rule:
    return Rule(make, statuses, reasons=frozenset(reasons))


def _by_text(make: Make, pattern: str, statuses: frozenset[int] = LIMITED) -> Rule:
    return Rule(make, statuses, text=re.compile(pattern, re.IGNORECASE))


def _at_once(problem: Problem) -> SyncError:
    return TooManyAtOnce("Gmail allows fewer concurrent requests", problem.wait)


def _mailbox(problem: Problem) -> SyncError:
    return Throttled("Gmail throttles this mailbox", problem.wait)


def _project(problem: Problem) -> SyncError:
    return ProjectThrottled("Gmail throttles this application", problem.wait)


def _day(problem: Problem) -> SyncError:
    return ProjectThrottled("Gmail's daily quota is used up", until_reset(problem.at))


def _scope(_: Problem) -> SyncError:
    return AuthRefused("the account has not granted what is needed: reconnect it")


def _policy(_: Problem) -> SyncError:
    return AuthRefused("the domain's administrator does not allow this access")


def _no_mail(_: Problem) -> SyncError:
    return AuthRefused("the account has no Gmail, or it is switched off")


def _api_off(_: Problem) -> SyncError:
    return OperatorMustAct("the Gmail API is not enabled in the project of oauth.google.client_id")


RULES: Final = (
    # Texts that say whose quota a reason means: rateLimitExceeded is also said of one user's.
    _by_text(_at_once, r"concurrent requests"),
    _by_text(_mailbox, r"user-rate limit|per user|for user"),
    _by_reason(_mailbox, "userRateLimitExceeded"),
    _by_reason(_day, "dailyLimitExceeded", "dailyLimitExceededUnreg", "quotaExceeded"),
    _by_text(_day, r"quer(?:ies|y) per day|daily limit"),
    _by_reason(_project, "rateLimitExceeded", "RATE_LIMIT_EXCEEDED"),
    _by_reason(_policy, "domainPolicy"),
    _by_reason(_api_off, "accessNotConfigured", "SERVICE_DISABLED"),
    _by_reason(_scope, "insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
    _by_text(_scope, r"delegation denied"),
    _by_text(_no_mail, r"mail service not enabled", frozenset({400, 403})),
)


def gmail_refusal(answer: Answer) -> SyncError | None:
    """Return what an answer that is no 2xx means; None: what its status means anywhere."""
    problem = _problem(answer)
    rule = next((rule for rule in RULES if rule.fits(problem)), None)
    return None if rule is None else rule.make(problem)


def refuses_parameter(answer: Answer) -> bool:
    """Return whether a 400 may be about a parameter: by its reason, and as no known refusal."""
    problem = _problem(answer)
    return not problem.reasons.isdisjoint(BAD_PARAMETER) and gmail_refusal(answer) is None


def until_reset(now: datetime) -> timedelta:
    """Return the wait until the daily quotas begin anew."""
    here = now.astimezone(RESET_ZONE)
    midnight = (here + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.astimezone(UTC) - now


def _problem(answer: Answer) -> Problem:
    error = _error_of(answer.body)
    text = error.get("message")
    text = text[:MAX_READ_CHARS] if isinstance(text, str) else ""
    named = retry_after_in(text, date=answer.headers.get("date"), now=answer.received_at)
    return Problem(
        status=answer.status,
        reasons=_reasons(error),
        text=text,
        wait=answer.retry_after or named,
        at=answer.received_at,
    )


def _error_of(body: bytes) -> Mapping[str, Any]:
    try:
        error = orjson.loads(body)["error"]
    except (ValueError, TypeError, KeyError):
        return {}
    return error if isinstance(error, dict) else {}


def _reasons(error: Mapping[str, Any]) -> frozenset[str]:
    """Return the reasons of both kinds: `errors` of the old style, `details` of the new."""
    lists = [error.get(name) for name in ("errors", "details")]
    items = [item for found in lists if isinstance(found, list) for item in found]
    reasons = (item.get("reason") for item in items if isinstance(item, dict))
    return frozenset(reason for reason in reasons if isinstance(reason, str))
