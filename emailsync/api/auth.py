"""Who asks: a bearer token (RFC 6750) to what it opens.

Admin tokens come from a file, one a line; the others are in the database, by their hash. A token
is never read from a URL, which proxies log.
"""

import hmac
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.requests import Request

from emailsync.api.failed_attempts import FailedAttempts
from emailsync.api.problems import Refused
from emailsync.crypto import Secret, token_hash
from emailsync.domain.access import Grant, Scope
from emailsync.ports import Clock

ADMIN: Final = Grant(Scope.ADMIN)
PROVEN: Final = (
    1_000  #: hashes of tokens that were right lately, looked up again whatever else fails
)

FindToken = Callable[[bytes], Awaitable[Grant | None]]


class Gate:
    """Lets in whoever has a token.

    Args:
        admin_tokens: those of the file.
        find: returns what the token of a SHA-256 opens; raises StoreUnavailable.
        clock: for putting off addresses that guess.
    """

    def __init__(self, admin_tokens: Sequence[Secret], find: FindToken, clock: Clock) -> None:
        self._admin = [token_hash(token.reveal().encode()) for token in admin_tokens]
        self._find = find
        self._failed = FailedAttempts(clock)
        self._proven: OrderedDict[bytes, None] = OrderedDict()

    async def grant_of(self, request: Request) -> Grant:
        """Return what whoever asks may see.

        Raises:
            Refused: there is no token, or a wrong one, or too many wrong ones came before.
            StoreUnavailable: the token is not of the file, and the database is away.
        """
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise _unauthorised("Bearer", "Send the header Authorization: Bearer TOKEN.")
        presented = token_hash(given.strip().encode("latin-1"))
        # Every token is compared, each in constant time, so the answer's delay tells nothing. Those
        # in the database are found by their hash, of which no guess can choose the digits.
        matches = [hmac.compare_digest(presented, token) for token in self._admin]
        if any(matches):
            return ADMIN
        address = request.client.host if request.client else ""
        if presented not in self._proven and (wait_s := self._failed.wait_s(address)):
            raise Refused(
                429,
                "Too many wrong tokens came from your address; try again later.",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        grant = await self._find(presented)
        if grant is None:
            self._proven.pop(presented, None)
            self._failed.note(address)
            raise _unauthorised(
                'Bearer error="invalid_token"',
                "This token is not known: it was removed, is over, or never was one.",
            )
        self._remember(presented)
        return grant

    def _remember(self, presented: bytes) -> None:
        self._proven[presented] = None
        self._proven.move_to_end(presented)
        if len(self._proven) > PROVEN:
            self._proven.popitem(last=False)


def _unauthorised(challenge: str, detail: str) -> Refused:
    return Refused(401, detail, headers={"WWW-Authenticate": challenge})
