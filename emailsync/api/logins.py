"""How a browser logs in and out: a token is shown once, and a session's cookie stands for it."""

from typing import Annotated, Final

import structlog
from pydantic import BaseModel, Field, SecretStr
from starlette.responses import Response

from emailsync.api.auth import Gate
from emailsync.api.dispatch import reply
from emailsync.api.endpoints import Access, Call, Endpoint, Nothing, PlainCall, Sent, Table
from emailsync.api.problems import MEDIA_TYPE, Refused
from emailsync.api.sessions import Sessions
from emailsync.crypto import token_hash
from emailsync.domain.access import Grant, Scope

UNAUTHORISED: Final = 401

log = structlog.get_logger(__name__)


class ShownToken(Sent):
    """A token of the scope admin or tenant."""

    token: Annotated[SecretStr, Field(min_length=1, max_length=1_000)]


class Session(BaseModel):
    """Who is logged in; nulls: nobody."""

    scope: Scope | None
    tenant_id: str | None  #: whose things are seen; null: everybody's

    @classmethod
    def of(cls, grant: Grant) -> "Session":
        """Return the session of whoever may see this."""
        return cls(scope=grant.scope, tenant_id=grant.tenant_id)


class Logins:
    """The resource `/session`."""

    def __init__(self, gate: Gate, sessions: Sessions) -> None:
        self._gate = gate
        self._sessions = sessions

    @property
    def table(self) -> Table:
        """The entries."""
        refusals = dict.fromkeys((401, 403, 429), MEDIA_TYPE)
        return (
            Endpoint("GET", "/session", Access.OPEN, "Who is logged in", self.show,
                     {200: Session, 429: MEDIA_TYPE}),
            Endpoint("POST", "/session", Access.OPEN, "Log in: a cookie stands for the token",
                     self.begin, {200: Session, **refusals}),
            Endpoint("DELETE", "/session", Access.OPEN, "Log out", self.end, {204: None}),
        )  # fmt: skip

    async def show(self, call: PlainCall) -> Response:
        """Tell who is logged in."""
        try:
            grant = await self._gate.grant_of(call.request)
        except Refused as refused:
            if refused.status != UNAUTHORISED:
                raise
            return reply(Session(scope=None, tenant_id=None))
        return reply(Session.of(grant))

    async def begin(self, call: Call[Nothing, Nothing, ShownToken]) -> Response:
        """Begin a session for a token."""
        shown = token_hash(call.body.token.get_secret_value().strip().encode())
        grant = await self._gate.grant_for(shown, call.request)
        if grant.scope is Scope.METRICS:
            raise Refused(
                403,
                "This token is of the scope metrics and opens /health/metrics only. The dashboard "
                "takes one of the scope admin or tenant: `emailsyncd token add --help`.",
            )
        response = reply(Session.of(grant))
        self._sessions.begin(shown, response)
        log.info("session.begun", scope=grant.scope, tenant_id=grant.tenant_id)
        return response

    async def end(self, call: PlainCall) -> Response:
        """End the session, if there is one."""
        response = Response(status_code=204)
        self._sessions.end(call.request, response)
        return response
