"""A proxy that makes a good IMAP server say something else: the bad servers that exist.

It works on the lines that the server sends; a message's own lines pass through it too, so a test
rewrites only what no mail of its says.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from servers import LOOPBACK

Rewrite = Callable[[bytes], bytes | None]  #: None cuts the connection
LINE_LIMIT_BYTES = 1024 * 1024


@dataclass(slots=True)
class RewritingProxy:
    """A listening proxy. `rewrite` and `refuse` may be replaced between two syncs."""

    port: int = 0
    rewrite: Rewrite = field(default=lambda line: line)  #: line of the server -> what is passed on
    sent: list[bytes] = field(default_factory=list)  #: lines of the client, logins included

    def passed_on(self, line: bytes) -> bytes | None:
        """Return what becomes of a line of the server."""
        return self.rewrite(line)


@asynccontextmanager
async def rewriting_proxy(port: int) -> AsyncIterator[RewritingProxy]:
    """Run a proxy in front of the server on this loopback port."""
    proxy = RewritingProxy()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(
            LOOPBACK, port, limit=LINE_LIMIT_BYTES
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    _pass_on(reader, upstream_writer, lambda line: _note(proxy, line))
                )
                group.create_task(_pass_on(upstream_reader, writer, proxy.passed_on))
        except* ConnectionError:
            pass

    server = await asyncio.start_server(serve, LOOPBACK, 0, limit=LINE_LIMIT_BYTES)
    async with server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy


def _note(proxy: RewritingProxy, line: bytes) -> bytes:
    proxy.sent.append(line)
    return line


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Rewrite
) -> None:
    try:
        while line := await reader.readline():
            changed = change(line)
            if changed is None:
                return
            if changed:
                writer.write(changed)
                await writer.drain()
    finally:
        writer.close()
