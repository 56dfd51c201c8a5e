"""A token endpoint over HTTP: a form out, tokens or the meaning of a refusal back.

The libraries make the forms in threads; here, on the event loop, is their only way out. They never
see an answer that is no success: google-auth would sleep and repeat, msal would keep it and answer
with it again for a minute, and both drop what the decision needs.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

from emailsync.config import OAuthSettings
from emailsync.crypto import Secret
from emailsync.domain.errors import ServerRefused
from emailsync.providers.http_client import HttpClient
from emailsync.providers.http_failures import SUCCESSES
from emailsync.providers.http_messages import Answer, ApiRequest
from emailsync.providers.oauth.classifier import Grant, Issuer, Refusal, classified
from emailsync.providers.oauth.issuers import origin, token_url
from emailsync.providers.oauth.token_set import Granted

DEADLINE_S: Final = 9.0  #: for one answer; the vault lets a renewal with two tries take 20 s
MAX_BYTES: Final = 256 * 1024  #: an answer with an id token of many groups has some 20 kB
MAX_TOKEN_CHARS: Final = 32 * 1024
USUAL_LIFE_S: Final = 3_600
"""Of an access token whose life is not told (RFC 6749 section 5.1 only recommends it)."""
LONGEST_LIFE_S: Final = 86_400
SECRET_FIELDS: Final = frozenset(
    {"client_secret", "refresh_token", "assertion", "client_assertion", "code", "code_verifier"}
)


@asynccontextmanager
async def token_endpoints(
    settings: OAuthSettings, *, deadline_s: float = DEADLINE_S
) -> AsyncIterator[Mapping[Issuer, "TokenEndpoint"]]:
    """Yield every issuer's endpoint; their connections live as long as the context."""
    async with AsyncExitStack() as stack:
        yield {
            issuer: TokenEndpoint(
                await stack.enter_async_context(HttpClient(origin(token_url(settings, issuer)))),
                issuer,
                deadline_s=deadline_s,
            )
            for issuer in Issuer
        }


class TokenEndpoint:
    """What one issuer's token endpoint answers."""

    def __init__(self, http: HttpClient, issuer: Issuer, *, deadline_s: float = DEADLINE_S) -> None:
        self._http = http
        self._issuer = issuer
        self._deadline_s = deadline_s

    async def ask(self, url: str, form: bytes, grant: Grant) -> Granted:
        """Send a form (RFC 6749 section 4 and 6) once and return the tokens.

        Raises:
            SyncError: as classifier.py says; `Retryable` ones for what is no answer at all.
        """
        request = ApiRequest(
            "POST",
            url,
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            content=form,
        )
        answer = await self._http.send(request, max_bytes=MAX_BYTES, deadline_s=self._deadline_s)
        body = _object_in(answer)
        if answer.status in SUCCESSES and (granted := _granted(body)) is not None:
            return granted
        raise classified(self._refusal(answer, body, form, grant))

    def _refusal(
        self, answer: Answer, body: Mapping[str, Any], form: bytes, grant: Grant
    ) -> Refusal:
        numbers = body.get("error_codes")
        return Refusal(
            issuer=self._issuer,
            grant=grant,
            status=answer.status,
            error=_text(body, "error") or None,
            suberror=_text(body, "suberror") or _text(body, "error_subtype"),
            numbers=frozenset(each for each in numbers if isinstance(each, int))
            if isinstance(numbers, list)
            else frozenset(),
            description=_without_secrets(_text(body, "error_description"), form),
            retry_after=answer.retry_after,
        )


def _object_in(answer: Answer) -> Mapping[str, Any]:
    try:
        return answer.json()
    except ServerRefused:
        return {}


def _granted(body: Mapping[str, Any]) -> Granted | None:
    access_token = _text(body, "access_token")
    if not access_token or len(access_token) > MAX_TOKEN_CHARS or "error" in body:
        return None
    refresh_token = _text(body, "refresh_token")
    is_one = refresh_token.isascii() and refresh_token.isprintable()  # RFC 6749 appendix A.17
    scopes = _text(body, "scope").split()
    return Granted(
        access_token=Secret(access_token),
        lifetime=timedelta(seconds=_lifetime_s(body.get("expires_in"))),
        refresh_token=Secret(refresh_token) if refresh_token and is_one else None,
        scopes=frozenset(scopes) if scopes else None,
    )


def _lifetime_s(told: object) -> float:
    """Read `expires_in`, which some send as a string."""
    try:
        seconds = float(told) if isinstance(told, int | float | str) else USUAL_LIFE_S
    except (ValueError, OverflowError):  # the latter of a number with hundreds of digits
        return USUAL_LIFE_S
    return min(seconds, LONGEST_LIFE_S) if seconds > 0 else USUAL_LIFE_S


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _without_secrets(text: str, form: bytes) -> str:
    """An endpoint may repeat in its complaint what it was sent."""
    for name, value in parse_qsl(form.decode("ascii", "replace")):
        if name in SECRET_FIELDS and value:
            text = text.replace(value, "***")
    return text
