"""Who may ask: everything needs a bearer token (RFC 6750) but what is listed as open.

Tokens come from a file, one a line. A token is never read from a URL, which proxies log.
"""

import hmac
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from emailsync.api.problems import problem
from emailsync.crypto import Secret

OPEN_PATHS: Final = frozenset({"/health", "/health/ready"})


class RequireToken:
    """Refuse requests to known routes without a valid token; unknown routes stay unknown."""

    def __init__(self, app: ASGIApp, *, tokens: Sequence[Secret], routes: Sequence[Route]) -> None:
        self._app = app
        self._tokens = [token.reveal().encode() for token in tokens]
        self._guarded = [route for route in routes if route.path not in OPEN_PATHS]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 in the route's place."""
        if scope["type"] == "http" and self._is_guarded(scope):
            refusal = self._refusal(Request(scope))
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_guarded(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is not Match.NONE for route in self._guarded)

    def _refusal(self, request: Request) -> Response | None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            return _unauthorised("Bearer", "Send the header Authorization: Bearer TOKEN.")
        # Every token is compared, each in constant time, so the answer's delay tells nothing.
        presented = given.strip().encode()
        matches = [hmac.compare_digest(presented, token) for token in self._tokens]
        if any(matches):
            return None
        return _unauthorised(
            'Bearer error="invalid_token"', "This token is not in the daemon's http.token_file."
        )


def _unauthorised(challenge: str, detail: str) -> Response:
    return problem(401, detail, headers={"WWW-Authenticate": challenge})
