"""ASGI applications on real loopback sockets, and what all emulated HTTP providers share.

Knows no provider. An application may end its connection by the transport that it finds in the
scope's extensions, as providers and networks do in the middle of an answer.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

LOOPBACK = "127.0.0.1"
TRANSPORT = "emailsync.transport"  #: the extension that holds the connection's asyncio.Transport
ANY_MAILBOX = "*"  #: the owner of an application's own token
KEEP_ALIVE_S = 240  #: Google's and Microsoft's front ends keep idle connections for minutes


class TokenAuthority(Protocol):
    """Who knows which bearer token opens which mailbox."""

    def mailbox_of(self, token: str) -> str | None:
        """Return the owner's address or `ANY_MAILBOX`; None: it opens nothing (any more)."""


class StaticTokens:
    """Tokens that never expire."""

    def __init__(self, mailboxes: Mapping[str, str]) -> None:
        self._mailboxes = mailboxes  #: token -> address

    def mailbox_of(self, token: str) -> str | None:
        """Return the address of the token's owner."""
        return self._mailboxes.get(token)


class _Connection(H11Protocol):
    """A connection whose application can end it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        application = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[TRANSPORT] = transport
            await application(scope, receive, send)

        self.app = with_transport


@asynccontextmanager
async def serve(app: ASGIApp, *, port: int = 0) -> AsyncIterator[str]:
    """Serve `app` while the context lasts; yield its base URL, without a slash at the end.

    Connections and answers under way are cut at the end. Port 0 takes a free one.
    """
    config = uvicorn.Config(
        _dated(app),
        host=LOOPBACK,
        port=port,
        http=_Connection,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,  # it would be that of the start: nothing ticks here
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        backlog=2048,
    )
    config.load()
    server = uvicorn.Server(config)  # neither its main loop nor its signal handlers are wanted
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        bound = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://{LOOPBACK}:{bound}"
    finally:
        await _stop(server)


async def _stop(server: uvicorn.Server) -> None:
    state = server.server_state
    for listener in server.servers:
        listener.close()
    for connection in list(state.connections):
        connection.transport.abort()
    under_way = list(state.tasks)
    for task in under_way:
        task.cancel()
    if under_way:
        await asyncio.wait(under_way)
    await asyncio.sleep(0)  # the event loop tells the connections of their end


def _dated(app: ASGIApp) -> ASGIApp:
    """Add the Date header, and leave quietly when the server is stopped."""

    async def dated(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                now = formatdate(usegmt=True).encode()
                message["headers"] = [*message.get("headers", ()), (b"date", now)]
            await send(message)

        try:
            await app(scope, receive, send_dated)
        except asyncio.CancelledError:  # by `_stop`, which has ended the connection before
            await ended(receive)

    return dated


async def ended(receive: Receive) -> None:
    """Return when the request's connection is gone, so that uvicorn expects no answer."""
    while (await receive())["type"] != "http.disconnect":
        pass
