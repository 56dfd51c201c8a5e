"""The HTTP server inside the daemon's own event loop: one listening socket, no signal handlers.

Knows which routes exist only as a list; what they answer is theirs.
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emailsync.api.auth import Gate
from emailsync.api.description import described
from emailsync.api.dispatch import routes_of
from emailsync.api.endpoints import Table
from emailsync.api.problems import (
    Refused,
    answer_bug,
    answer_http_exception,
    answer_refused,
    answer_unavailable,
)
from emailsync.domain.errors import StoreUnavailable

BACKLOG = 128
KEEP_ALIVE_S = 5
GRACE_S = 2  #: for answers under way when the daemon stops
MAX_REQUESTS_AT_ONCE = 256  #: connections; over this, 503 at once: pages must not become a load
SAFE_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class SafeHeaders:
    """Add the headers that every answer of ours carries."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and add to the head of its response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *SAFE_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon owns the signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class PathAsSent:
    """Route by the path as it was sent: an id may hold a slash, and comes percent-encoded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await self._app(scope, receive, send)


def build_api(table: Table, gate: Gate) -> ASGIApp:
    """Return the application: what the table has and nothing else, errors as problem+json."""
    api = Starlette(
        routes=routes_of(described(table), gate),
        middleware=[Middleware(SafeHeaders), Middleware(PathAsSent)],
        exception_handlers={
            Refused: answer_refused,
            StoreUnavailable: answer_unavailable,
            HTTPException: answer_http_exception,
            Exception: answer_bug,
        },
    )
    api.router.redirect_slashes = False  # a redirect would repeat a Host header that anybody made
    return api


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        OSError: the address is in use, not ours, or none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # from the codec of host names: an empty or endless label
        raise OSError(errno.EINVAL, "Not a host name") from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


async def serve(api: ASGIApp, listener: socket.socket) -> None:
    """Answer until cancelled; answers under way get a moment to finish."""
    config = uvicorn.Config(
        api,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=MAX_REQUESTS_AT_ONCE,
        proxy_headers=False,
    )
    server = _QuietServer(config)
    async with anyio.create_task_group() as group:
        group.start_soon(_serve_until_told, server, listener, name="http server")
        try:
            await anyio.sleep_forever()
        finally:
            server.should_exit = True


async def _serve_until_told(server: uvicorn.Server, listener: socket.socket) -> None:
    """Run uvicorn out of reach of a cancellation, which would cut the answers under way."""
    with anyio.CancelScope(shield=True):
        await server.serve(sockets=[listener])
