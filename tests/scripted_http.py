"""An HTTP/1.1 server that answers byte for byte what the test writes, on a real socket."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Script = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request, and the way to answer it."""

    head: str  #: request line and headers
    body: bytes
    connection: int  #: which connection it came on, from 1
    writer: asyncio.StreamWriter = field(repr=False)

    @property
    def target(self) -> str:
        """The path and query that were asked for."""
        return self.head.split(" ")[1]

    def header(self, name: str) -> str | None:
        """Return one header's value."""
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name:
                return value
        return None

    async def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes) -> None:
        """Write the same a hundred times a second until the client hangs up."""
        while True:
            await self.send(data)
            await asyncio.sleep(0.01)

    async def answer(
        self, status: int = 200, body: bytes = b"{}", *, kind: str = "application/json", **more: str
    ) -> None:
        """Write a whole answer; further headers are spelled with underscores."""
        headers = {"content-type": kind, "content-length": str(len(body))}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await self.send(f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode() + body)

    def hang_up(self) -> None:
        """Close the connection."""
        self.writer.close()


@dataclass
class ScriptedServer:
    """A running server."""

    url: str  #: without a path
    port: int
    exchanges: list[Exchange] = field(default_factory=list)


@asynccontextmanager
async def scripted(
    script: Script, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    """Serve on loopback; every request runs `script`, and the connection stays open after it."""
    connections = 0
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        number = connections
        writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                exchange = Exchange(head, b"", number, writer)
                exchange.body = await reader.readexactly(
                    int(exchange.header("content-length") or 0)
                )
                server.exchanges.append(exchange)
                await script(exchange)
        writers.discard(writer)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    server = ScriptedServer(f"{'https' if tls else 'http'}://127.0.0.1:{port}", port)
    try:
        yield server
    finally:
        listener.close()
        for writer in writers:
            writer.transport.abort()
        await listener.wait_closed()
        while writers:
            await asyncio.sleep(0)
