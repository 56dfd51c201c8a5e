"""The dashboard's sessions: a random id in a cookie stands for a token that was shown once.

A session has no rights of its own: whoever asks by it is looked up by the token's hash each time,
so it ends with the token. Sessions are in memory: a daemon that is started anew asks again.
"""

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from emailsync.crypto import token_hash
from emailsync.ports import Clock

LIFE_S: Final = 12 * 60 * 60  #: a working day
REMEMBERED: Final = 1_000  #: sessions; the oldest is forgotten
OF_ONE_TOKEN: Final = 20  #: of these: a program that logs in for ever ends only its own
ID_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class _Session:
    shown: bytes  #: SHA-256 of the token
    ends_at_s: float


class Sessions:
    """The sessions of one daemon.

    Args:
        clock: for their end.
        is_secure: whether browsers reach us by https, so that the cookie is sent by nothing else.
    """

    def __init__(self, clock: Clock, *, is_secure: bool) -> None:
        self._clock = clock
        self._is_secure = is_secure
        # The prefix makes browsers refuse a cookie that a neighbouring host has set (RFC 6265bis).
        self._cookie = "__Host-emailsyncd" if is_secure else "emailsyncd"
        self._open: OrderedDict[bytes, _Session] = OrderedDict()  #: by the SHA-256 of their id

    def begin(self, shown: bytes, response: Response) -> None:
        """Let a response bring a new session for the token of this hash."""
        self._make_room(shown)
        session_id = secrets.token_urlsafe(ID_BYTES)
        self._open[_key(session_id)] = _Session(shown, self._clock.monotonic() + LIFE_S)
        response.set_cookie(
            self._cookie,
            session_id,
            max_age=LIFE_S,
            secure=self._is_secure,
            httponly=True,
            samesite="strict",
        )

    def shown_by(self, request: Request) -> bytes | None:
        """Return the hash of the token that a request's session stands for; None: it has none."""
        key = self._key_of(request)
        session = self._open.get(key) if key else None
        if session is None or session.ends_at_s <= self._clock.monotonic():
            return None
        return session.shown

    def end(self, request: Request, response: Response) -> None:
        """End a request's session, if it has one, and let the response take its cookie away."""
        if key := self._key_of(request):
            self._open.pop(key, None)
        response.delete_cookie(
            self._cookie, secure=self._is_secure, httponly=True, samesite="strict"
        )

    def _make_room(self, shown: bytes) -> None:
        own = [key for key, session in self._open.items() if session.shown == shown]
        if len(own) >= OF_ONE_TOKEN:
            del self._open[own[0]]
        elif len(self._open) >= REMEMBERED:
            self._open.popitem(last=False)

    def _key_of(self, request: Request) -> bytes | None:
        session_id = request.cookies.get(self._cookie)
        return _key(session_id) if session_id else None


def _key(session_id: str) -> bytes:
    return token_hash(session_id.encode())
