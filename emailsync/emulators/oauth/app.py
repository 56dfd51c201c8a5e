"""The emulated issuers as an ASGI application: `/google/token`, `/{tenant}/oauth2/v2.0/token`.

People agree at `/google/authorize` and `/{tenant}/oauth2/v2.0/authorize`, administrators at
`/{tenant}/v2.0/adminconsent`. Whose an access token is says `/google/tokeninfo`.

`OAuthEmulator` holds what tests look at and change: ledger, faults and usage. It is the
`TokenAuthority` of the emulated APIs: a token that it gave out opens its owner's mailbox there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from emailsync.emulators.control import control_routes
from emailsync.emulators.faults import Faults, emulated
from emailsync.emulators.oauth.browser import browser_routes
from emailsync.emulators.oauth.control import OAuthControl
from emailsync.emulators.oauth.google import google_token
from emailsync.emulators.oauth.ledger import OAuthLedger, Rotation
from emailsync.emulators.oauth.microsoft import microsoft_token
from emailsync.emulators.oauth.refusals import Refused
from emailsync.emulators.usage import Usage

GOOGLE_TOKEN_PATH = "/google/token"  # noqa: S105 - an address
MICROSOFT_TOKEN_PATH = "/{tenant}/oauth2/v2.0/token"  # noqa: S105 - an address
TOKENINFO_PATH = "/google/tokeninfo"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthEmulator:
    """Both issuers: everything to look at, everything to change, and the application."""

    def __init__(self, ledger: OAuthLedger | None = None) -> None:
        self.ledger = OAuthLedger() if ledger is None else ledger
        self.faults = Faults()
        self.usage = Usage()
        self._app = emulated(self._routes(), self.faults, self.usage)

    @classmethod
    def from_order(cls, order: Mapping[str, Any]) -> "OAuthEmulator":
        """Return what a line of orders asks for; every key may be missing.

        `{"clients": {id: secret}, "users": [{"address": ..., "client_id": ..., "refresh_token":
        ..., "scopes": [...]}, ...], "people": [address, ...], "directories": [...], "rotation":
        "none" | "new" | "one_time", "access_token_life_s": S}`
        """
        emulator = cls()
        ledger = emulator.ledger
        ledger.rotation = Rotation(order.get("rotation", Rotation.NONE))
        ledger.access_token_life_s = order.get("access_token_life_s", ledger.access_token_life_s)
        ledger.directories.update(order.get("directories", ()))
        ledger.people.update(order.get("people", ()))
        for client_id, secret in order.get("clients", {}).items():
            ledger.add_client(client_id, secret)
        for user in order.get("users", ()):
            ledger.add_user(**user)
        return emulator

    @property
    def app(self) -> ASGIApp:
        """Return the application."""
        return self._app

    def mailbox_of(self, token: str) -> str | None:
        """Return the address of the token's owner; None for a token that opens nothing (now)."""
        return self.ledger.mailbox_of(token)

    async def live(self) -> None:
        """Nothing happens by itself: tokens expire when they are looked at."""

    def _routes(self) -> Sequence[Route]:
        return [
            Route(GOOGLE_TOKEN_PATH, self._google, methods=["POST"]),
            Route(MICROSOFT_TOKEN_PATH, self._microsoft, methods=["POST"]),
            Route(TOKENINFO_PATH, self._tokeninfo),
            Route("/{tenant}/v2.0/.well-known/openid-configuration", _discovery),
            *browser_routes(self.ledger),
            *control_routes(self.faults, self.usage),
            *OAuthControl(self.ledger).routes(),
        ]

    async def _google(self, request: Request) -> Response:
        form = await _form(request)
        return self._answer(lambda: google_token(self.ledger, form))

    async def _microsoft(self, request: Request) -> Response:
        form, tenant = await _form(request), request.path_params["tenant"]
        return self._answer(lambda: microsoft_token(self.ledger, tenant, form))

    async def _tokeninfo(self, request: Request) -> Response:
        """Say whose an access token is, as Google's tokeninfo does; IMAP servers ask."""
        owner = self.mailbox_of(request.query_params.get("access_token", ""))
        if owner is None:
            return Refused("invalid_token", "Invalid Value").response()
        return JSONResponse({"email": owner})

    def _answer(self, tokens: Callable[[], Mapping[str, Any]]) -> Response:
        try:
            return JSONResponse(tokens(), headers=NO_STORE)
        except Refused as refused:
            self.ledger.refused[refused.error] += 1
            return refused.response()


async def _form(request: Request) -> Mapping[str, str]:
    return dict(parse_qsl((await request.body()).decode()))


async def _discovery(request: Request) -> Response:
    """Answer what msal asks for first (OpenID Connect Discovery 1.0 section 4)."""
    base = f"{request.url.scheme}://{request.url.netloc}/{request.path_params['tenant']}"
    return JSONResponse(
        {
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
        }
    )
