"""What a refusal of Microsoft Graph means: its error codes -> a `SyncError`.

The rules are a table, first match wins. Codes decide, never messages; they are compared without
case, and an inner error's code counts like the outer one's (learn.microsoft.com/graph/errors). What
no rule speaks of is judged by its status alone, as of any provider.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    Misconfigured,
    Retryable,
    ServerRefused,
    SyncError,
    Throttled,
    Unreachable,
)
from emailsync.providers.http_messages import Answer

MAX_NESTING: Final = 8  #: of inner errors; three have been seen

_CODE: Final = re.compile(r"[\w.:-]{1,100}", re.ASCII)
_REQUEST_ID: Final = re.compile(r"[0-9A-Fa-f-]{8,64}", re.ASCII)
_CLAIMS: Final = re.compile(r"\bclaims=|insufficient_claims")


class CursorExpired(Retryable):
    """A delta or next link leads nowhere any more: begin that round anew."""


class ItemGone(ServerRefused):
    """The message, attachment or folder that was asked for does not exist (any more)."""


class RequestRefused(ServerRefused):
    """Graph will not do what was asked, now or later."""


def concerns_one(error: SyncError) -> bool:
    """Return whether a failure may be of the one item that was asked for, and not of all."""
    return isinstance(error, ServerRefused | Unreachable | CursorExpired)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """If status and code fit, the refusal means `make`."""

    make: Callable[[str, Answer], SyncError]
    statuses: frozenset[int] = frozenset()  #: empty: any
    codes: frozenset[str] = frozenset()  #: lower case; empty: any
    with_claims: bool = False  #: only where another sign-in is asked for

    def fits(self, answer: Answer, codes: frozenset[str]) -> bool:
        """Return whether the rule speaks of this refusal."""
        return (
            (not self.statuses or answer.status in self.statuses)
            and (not self.codes or not self.codes.isdisjoint(codes))
            and (not self.with_claims or _wants_claims(answer, codes))
        )


def _rule(
    make: Callable[[str], SyncError],
    *codes: str,
    statuses: tuple[int, ...] = (),
    claims: bool = False,
) -> Rule:
    return Rule(
        make=lambda message, _: make(message),
        statuses=frozenset(statuses),
        codes=frozenset(codes),
        with_claims=claims,
    )


RULES: Final = (
    # A round that cannot go on (delta-query-overview; microsoft-graph-docs issue 2350).
    _rule(CursorExpired, "syncstatenotfound", "syncstateinvalid", "resyncrequired"),
    _rule(CursorExpired, statuses=(410,)),
    Rule(
        make=lambda message, answer: Throttled(message, answer.retry_after),
        codes=frozenset({"applicationthrottled", "activitylimitreached", "toomanyrequests"}),
    ),
    # Continuous access evaluation and conditional access want the owner to sign in again.
    _rule(AuthRefused, statuses=(401, 403), claims=True),
    _rule(
        AuthRefused,
        *("erroraccessdenied", "accessdenied", "authorization_requestdenied"),
        statuses=(403,),
    ),
    # No licence, on premises, inactive; or nobody of that name.
    _rule(
        Misconfigured,
        *("mailboxnotenabledforrestapi", "mailboxnotsupportedforrestapi"),
        *("mailboxnothostedinexchangeonline", "errormailboxnotenabledforrestapi"),
        *("errornonexistentmailbox", "errorinvaliduser", "request_resourcenotfound"),
        statuses=(400, 403, 404),
    ),
    _rule(AuthUnproven, statuses=(403,)),
    # Deletions are believed on this word, so it has to be Graph's own and not a gateway's.
    _rule(
        ItemGone,
        *("erroritemnotfound", "errorfoldernotfound", "itemnotfound", "resourcenotfound"),
        statuses=(404,),
    ),
    _rule(ServerRefused, statuses=(404,)),
    _rule(RequestRefused, statuses=(400, 405, 406, 409, 412, 413, 414, 415, 422, 423, 501)),
)


def refusal(answer: Answer) -> SyncError | None:
    """Return what a refusal means; None: its status says all there is."""
    error = _error_of(answer)
    codes = list(_codes(error))
    known = frozenset(code.lower() for code in codes)
    for rule in RULES:
        if rule.fits(answer, known):
            return rule.make(_told(answer, codes, error), answer)
    return None


def _error_of(answer: Answer) -> dict[str, Any]:
    try:
        error = answer.json().get("error")
    except ServerRefused:  # a gateway's page
        return {}
    return error if isinstance(error, dict) else {}


def _codes(error: dict[str, Any]) -> Iterator[str]:
    """Yield the codes, the outermost first."""
    inner: Any = error
    for _ in range(MAX_NESTING):
        if not isinstance(inner, dict):
            return
        code = inner.get("code")
        if isinstance(code, str):
            yield code
        inner = inner.get("innerError", inner.get("innererror"))


def _wants_claims(answer: Answer, codes: frozenset[str]) -> bool:
    challenge = answer.headers.get("www-authenticate", "")
    return "insufficient_claims" in codes or _CLAIMS.search(challenge) is not None


def _told(answer: Answer, codes: list[str], error: dict[str, Any]) -> str:
    """Repeat the innermost code and the request's id, which Microsoft's support asks for."""
    named = [code for code in codes if _CODE.fullmatch(code)]
    said = f"Microsoft Graph answered {answer.status}{f' {named[-1]}' if named else ''}"
    inner = error.get("innerError")
    request_id = inner.get("request-id") if isinstance(inner, dict) else None
    if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id):
        said += f" (request {request_id})"
    return said
