"""Who asks: a bearer token (RFC 6750), or a session that stands for one, to what it opens.

Admin tokens come from a file, one a line; the others are in the database, by their hash. A token
is never read from a URL, which proxies log.
"""

import hmac
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

import anyio
from starlette.requests import Request

from emailsync.api.buckets import Buckets
from emailsync.api.problems import Refused
from emailsync.api.sessions import Sessions
from emailsync.crypto import Secret, token_hash
from emailsync.domain.access import Grant, Scope
from emailsync.ports import Clock

ADMIN: Final = Grant(Scope.ADMIN)
KNOWN_FOR_S: Final = 5.0  #: that a list of all tokens is gone by while an address guesses

WRONG_AT_ONCE: Final = 10  #: tokens of an address; a client with an old token tries a few times
WRONG_EVERY_S: Final = 6.0  #: one more
TOO_OFTEN: Final = (
    "This token asks too often: wait as many seconds as Retry-After says. "
    "http.requests_per_second is what it may ask on average."
)
BURST_S: Final = 10  #: a token may ask at once what it may in this time, so pages load at once

DASHBOARD_HEADER: Final = "x-emailsync-dashboard"
"""Our page sends it; no other site's can (Fetch standard, CORS-preflight fetch)."""
CHANGES_NOTHING: Final = frozenset({"GET", "HEAD"})

FindToken = Callable[[bytes], Awaitable[Grant | None]]
ListTokens = Callable[[], Awaitable[Collection[bytes]]]


class Gate:
    """Lets in whoever has a token.

    Args:
        admin_tokens: those of the file.
        find: returns what the token of a SHA-256 opens; raises StoreUnavailable.
        list_all: returns the SHA-256 of every token that `find` may know; raises StoreUnavailable.
        clock: for putting off addresses that guess, and tokens that ask too often.
        sessions: of browsers that have shown a token.
        requests_per_s: of each token, its sessions included; a burst may be `BURST_S` times that.
    """

    def __init__(
        self,
        admin_tokens: Sequence[Secret],
        find: FindToken,
        list_all: ListTokens,
        clock: Clock,
        sessions: Sessions,
        *,
        requests_per_s: int,
    ) -> None:
        self._admin = [token_hash(token.reveal().encode()) for token in admin_tokens]
        self._find_token = find
        self._list_tokens = list_all
        self._clock = clock
        self._failed = Buckets(clock, size=WRONG_AT_ONCE, refilled_every_s=WRONG_EVERY_S)
        self._asked = Buckets(
            clock, size=BURST_S * requests_per_s, refilled_every_s=1 / requests_per_s
        )
        self._sessions = sessions
        self._known: Collection[bytes] = ()
        self._known_until_s = -math.inf
        self._listing = anyio.Lock()

    async def grant_of(self, request: Request) -> Grant:
        """Return what whoever asks may see.

        Raises:
            Refused: there is no token, or a wrong one, or too many wrong ones came before; or it
                asks too often; or a session is over, or another site's page may be asking by it.
            StoreUnavailable: the token is not of the file, and the database is away.
        """
        shown = self.shown_by(request)
        if self._in_session(request):
            return await self._grant_of_session(shown, request)
        return await self.grant_for(shown, request)

    def shown_by(self, request: Request) -> bytes:
        """Return the hash of the token that a request shows, itself or by a session.

        Raises:
            Refused: it shows none.
        """
        return self._in_session(request) or _of_bearer(request)

    def _in_session(self, request: Request) -> bytes | None:
        is_own = "authorization" in request.headers
        return None if is_own else self._sessions.shown_by(request)

    async def grant_for(self, presented: bytes, request: Request) -> Grant:
        """Return what the token of this SHA-256 opens; a request's address may try a few.

        A token that is right is never put off for others' guesses: behind a proxy everybody has
        the same address.

        Raises:
            Refused: it is a wrong one, or too many wrong ones came before; or it asks too often.
            StoreUnavailable: the token is not of the file, and the database is away.
        """
        self._put_off(presented)
        grant = self._admin_grant(presented) or await self._find(presented, request)
        self._asked.note(presented)  # of tokens that are right, so that guesses push none out
        return grant

    def _put_off(self, shown: bytes) -> None:
        if wait_s := self._asked.wait_s(shown):
            raise _too_many(TOO_OFTEN, wait_s)

    async def _find(self, presented: bytes, request: Request) -> Grant:
        address = request.client.host if request.client else ""
        if (wait_s := self._failed.wait_s(address)) and not await self._is_known(presented):
            raise _too_many(
                "Too many wrong tokens came from your address; try again later.", wait_s
            )
        grant = await self._find_token(presented)
        if grant is None:
            if not self._failed.wait_s(address):  # guesses made at once add up to no hours
                self._failed.note(address)
            raise _unauthorised(
                'Bearer error="invalid_token"',
                "This token is not known: it was removed, is over, or never was one.",
            )
        return grant

    async def _is_known(self, presented: bytes) -> bool:
        """Tell by a list that is new enough: a look for each guess would be too many."""
        async with self._listing:
            if self._known_until_s <= self._clock.monotonic():
                self._known = await self._list_tokens()
                self._known_until_s = self._clock.monotonic() + KNOWN_FOR_S
            return presented in self._known

    async def _grant_of_session(self, shown: bytes, request: Request) -> Grant:
        self._put_off(shown)
        if request.method not in CHANGES_NOTHING and DASHBOARD_HEADER not in request.headers:
            raise Refused(
                403, f"A session changes things only with the header {DASHBOARD_HEADER}: 1."
            )
        self._asked.note(shown)  # whatever it opens now: it was right when the session began
        grant = self._admin_grant(shown) or await self._find_token(shown)
        if grant is None:
            raise _unauthorised("Bearer", "The token of this session was removed, or is over.")
        return grant

    def _admin_grant(self, presented: bytes) -> Grant | None:
        # Every token is compared, each in constant time, so the answer's delay tells nothing. Those
        # in the database are found by their hash, of which no guess can choose the digits.
        matches = [hmac.compare_digest(presented, token) for token in self._admin]
        return ADMIN if any(matches) else None


def _of_bearer(request: Request) -> bytes:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise _unauthorised("Bearer", "Send the header Authorization: Bearer TOKEN.")
    return token_hash(given.strip().encode("latin-1"))


def _too_many(detail: str, wait_s: float) -> Refused:
    return Refused(429, detail, headers={"Retry-After": str(math.ceil(wait_s))})


def _unauthorised(challenge: str, detail: str) -> Refused:
    return Refused(401, detail, headers={"WWW-Authenticate": challenge})
