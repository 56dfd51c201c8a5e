"""What a token endpoint's refusal means: its `error`, `suberror` and status -> a `SyncError`.

A table, first match wins. Only an explicit permanent answer costs an account its connection; a
broken, slow or throttled endpoint never does, and what is wrong with our own registration is the
operator's. Numbers (AADSTS...) may change, says Microsoft: they serve for messages, and here only
ever to soften a decision.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from typing import Final

from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    OperatorMustAct,
    SyncError,
    Throttled,
    Unreachable,
)

TOO_MANY_REQUESTS: Final = 429
REQUEST_TIMEOUT: Final = 408
SERVICE_UNAVAILABLE: Final = 503
SERVER_ERROR: Final = 500
MAX_QUOTED_CHARS: Final = 200  #: of a provider's description in an error message
LOOP_PAUSE: Final = timedelta(minutes=15)  #: after AADSTS50196: the endpoint was asked too often

_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")
_TRACE: Final = re.compile(r"\s*(?:Trace ID|Correlation ID|Timestamp):.*", re.DOTALL)


class Issuer(StrEnum):
    """Who issues tokens; the value is the name of the settings' section `[oauth.*]`."""

    GOOGLE = "google"
    MICROSOFT = "microsoft"

    @property
    def title(self) -> str:  # type: ignore[override]  # a name for people, not str.title
        """The name for people."""
        return self.value.capitalize()


class Grant(Enum):
    """On whose behalf a token is asked for."""

    USER = "user"  #: a refresh token: the mailbox's owner agreed
    APPLICATION = "application"  #: a service account or client credentials: an administrator did


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer of a token endpoint that holds no token."""

    issuer: Issuer
    grant: Grant
    status: int
    error: str | None  #: None: the body is no OAuth error (RFC 6749 section 5.2)
    suberror: str = ""  #: Microsoft's `suberror`, Google's `error_subtype`
    numbers: frozenset[int] = frozenset()  #: Microsoft's `error_codes`
    description: str = ""
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """If all that is given fits, the refusal means `decision`, and `advice` says what to do."""

    errors: frozenset[str]
    decision: Callable[[str], SyncError]
    advice: str = ""
    grant: Grant | None = None
    suberrors: frozenset[str] = frozenset()
    numbers: frozenset[int] = frozenset()
    text: re.Pattern[str] | None = None

    def fits(self, refusal: Refusal) -> bool:
        """Return whether the rule speaks of this refusal."""
        return (
            refusal.error in self.errors
            and self.grant in (None, refusal.grant)
            and (not self.suberrors or refusal.suberror in self.suberrors)
            and (not self.numbers or not self.numbers.isdisjoint(refusal.numbers))
            and (self.text is None or self.text.search(refusal.description) is not None)
        )


def _pause_of_a_loop(message: str) -> SyncError:
    return Throttled(message, retry_after=LOOP_PAUSE)


INVALID_GRANT: Final = frozenset({"invalid_grant"})
RECONNECT: Final = "the mailbox's owner has to connect it again"

RULES: Final = (
    Rule(
        errors=frozenset({"temporarily_unavailable", "server_error", "internal_failure"}),
        decision=Unreachable,
    ),
    Rule(
        errors=frozenset({"slow_down", "rate_limit_exceeded", "quota_exceeded"}),
        decision=Throttled,
    ),
    # Our own registration: one and the same for all accounts.
    Rule(
        errors=frozenset({"invalid_client", "deleted_client", "disabled_client"}),
        decision=OperatorMustAct,
        advice="check client_id and client_secret_file, the secret may have expired",
    ),
    Rule(
        errors=frozenset({"unauthorized_client", "access_denied"}),
        decision=OperatorMustAct,
        advice="an administrator of the mailbox's organisation has to authorise this client",
        grant=Grant.APPLICATION,
    ),
    Rule(
        errors=frozenset({"unauthorized_client"}),
        decision=OperatorMustAct,
        advice="check client_id and what the client is registered for",
    ),
    Rule(
        errors=frozenset(
            {
                *("invalid_request", "invalid_scope", "invalid_resource", "invalid_tenant"),
                *("unsupported_grant_type", "unsupported_response_type"),
            }
        ),
        decision=OperatorMustAct,
        advice="check what the client is registered for, the authority and the URLs",
    ),
    Rule(
        errors=INVALID_GRANT,
        suberrors=frozenset({"client_mismatch"}),
        decision=OperatorMustAct,
        advice="the token was issued to another client_id than the settings have now",
    ),
    # invalid_grant that speaks of the service account's own key, or of our clock.
    Rule(
        errors=INVALID_GRANT,
        grant=Grant.APPLICATION,
        text=re.compile(r"invalid jwt|short-lived token|reasonable timeframe", re.IGNORECASE),
        decision=OperatorMustAct,
        advice="check service_account_file and this machine's clock",
    ),
    Rule(
        errors=INVALID_GRANT,
        grant=Grant.APPLICATION,
        text=re.compile(r"account not found|account is disabled", re.IGNORECASE),
        decision=OperatorMustAct,
        advice="check service_account_file: the service account is gone",
    ),
    # invalid_grant that Microsoft answers for passing troubles of its own.
    Rule(errors=INVALID_GRANT, numbers=frozenset({50196}), decision=_pause_of_a_loop),
    Rule(errors=INVALID_GRANT, numbers=frozenset({50033, 50087, 90033}), decision=Unreachable),
    # Explicit and permanent.
    Rule(
        errors=INVALID_GRANT,
        grant=Grant.APPLICATION,
        decision=AuthRefused,
        advice="check that the mailbox exists in the organisation",
    ),
    Rule(
        errors=INVALID_GRANT,
        suberrors=frozenset({"invalid_rapt", "rapt_required"}),
        decision=AuthRefused,
        advice=f"the organisation limits how long a sign-in lasts: {RECONNECT}",
    ),
    Rule(
        errors=INVALID_GRANT,
        suberrors=frozenset({"consent_required"}),
        decision=AuthRefused,
        advice=f"consent is missing: {RECONNECT}, perhaps with an administrator's consent",
    ),
    Rule(errors=INVALID_GRANT, decision=AuthRefused, advice=RECONNECT),
    Rule(
        errors=frozenset({"interaction_required", "login_required", "consent_required"}),
        decision=AuthRefused,
        advice=f"signing in asks for a step that only a person can take: {RECONNECT}",
    ),
    Rule(
        errors=frozenset({"admin_policy_enforced", "policy_enforced", "org_internal"}),
        decision=AuthRefused,
        advice="the organisation does not allow this client: ask its administrator, then "
        "connect the mailbox again",
    ),
    Rule(errors=frozenset({"access_denied"}), decision=AuthRefused, advice=RECONNECT),
)


def classified(refusal: Refusal) -> SyncError:
    """Return what the refusal means."""
    message = _told(refusal)
    if refusal.status == TOO_MANY_REQUESTS:
        return Throttled(message, retry_after=refusal.retry_after)
    if refusal.status == SERVICE_UNAVAILABLE and refusal.retry_after is not None:
        return Throttled(message, retry_after=refusal.retry_after)
    if refusal.status >= SERVER_ERROR or refusal.status == REQUEST_TIMEOUT:
        return Unreachable(message)
    if refusal.error is None:
        return Unreachable(message)
    for rule in RULES:
        if rule.fits(refusal):
            return rule.decision(f"{message}; {rule.advice}" if rule.advice else message)
    return AuthUnproven(message)


def _told(refusal: Refusal) -> str:
    """Say who answered what, fit for an account's `last_error`."""
    whose = f"{refusal.issuer.title}'s token endpoint answered"
    if refusal.error is None:
        return f"{whose} {refusal.status} and no token"
    said = ", ".join(filter(None, (refusal.error, refusal.suberror)))
    description = _TRACE.sub("", refusal.description)
    if description:
        said += f": {description}"
    return f"{whose} {_UNPRINTABLE.sub(' ', said)[:MAX_QUOTED_CHARS].strip()}"
