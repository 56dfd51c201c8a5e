"""A TCP proxy on loopback that does to a connection what networks do.

It knows nothing of the protocol: faults are placed by counting bytes. It runs in a thread of its
own, so that a test may block, and its faults hold for connections that are accepted from then on.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from servers import LOOPBACK

READ_BYTES = 65_536
PIECES_UNDER_WAY = 1_000  #: of one direction while latency holds them

#: SO_LINGER of zero seconds: closing sends RST instead of FIN (socket(7)).
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Ending(Enum):
    """What happens to a connection when the bytes of `Faults.at_byte` have passed."""

    CLOSE = auto()  #: FIN to both sides
    RESET = auto()  #: RST to both sides
    SILENCE = auto()  #: it stays open, and nothing comes in this direction, not even its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What happens to the bytes of one direction; nothing, by default."""

    latency_s: float = 0.0  #: each piece arrives this much later
    bytes_per_s: float | None = None
    piece_bytes: int = READ_BYTES  #: the stream arrives in pieces of at most this size
    at_byte: int | None = None  #: so many bytes pass, then comes the ending
    ending: Ending = Ending.CLOSE


class FaultProxy:
    """A proxy in front of one loopback port. `to_client` and `to_server` may be set at any time."""

    def __init__(self, server_port: int) -> None:
        self.to_client = Faults()
        self.to_server = Faults()
        self.connections = 0  #: accepted so far
        self._server_port = server_port
        self._listener = socket.create_server((LOOPBACK, 0))
        self._listener.setblocking(False)
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where clients connect."""
        port: int = self._listener.getsockname()[1]
        return port

    def cut_all(self) -> None:
        """Reset every connection that is open now."""
        self._loop.call_soon_threadsafe(self._cancel_open)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Accept connections until the block ends; then reset those that are left."""
        accepting = self._loop.create_task(self._accept())
        thread = threading.Thread(target=self._run, args=[accepting], name="fault proxy")
        thread.start()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(accepting.cancel)
            thread.join()

    def _run(self, accepting: asyncio.Task[None]) -> None:
        with closing(self._loop), self._listener:
            self._loop.run_until_complete(asyncio.wait({accepting}))

    def _cancel_open(self) -> None:
        for connection in self._open:
            connection.cancel()

    async def _accept(self) -> None:
        async with asyncio.TaskGroup() as connections:
            while True:
                client, _ = await self._loop.sock_accept(self._listener)
                self.connections += 1
                serving = connections.create_task(self._serve(client))
                self._open.add(serving)
                serving.add_done_callback(self._open.discard)

    async def _serve(self, client: socket.socket) -> None:
        """Carry one connection until either side or a fault ends it."""
        # Being cancelled is `cut_all` or the end of the proxy.
        ending = Ending.RESET
        with client, socket.socket() as server:
            server.setblocking(False)
            try:
                await self._loop.sock_connect(server, (LOOPBACK, self._server_port))
                ending = await self._carry(client, server)
            except ConnectionError:
                pass  # the server is not there: the client is reset
            finally:
                if ending is Ending.RESET:
                    for end in (client, server):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    async def _carry(self, client: socket.socket, server: socket.socket) -> Ending:
        """Carry both directions; return how the first of them ended."""
        async with asyncio.TaskGroup() as directions:
            pending = {
                directions.create_task(_Direction(client, server, self.to_server).carry()),
                directions.create_task(_Direction(server, client, self.to_client).carry()),
            }
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for other in pending:
                other.cancel()
        return done.pop().result()


class _Direction:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, target: socket.socket, faults: Faults) -> None:
        self._source = source
        self._target = target
        self._faults = faults
        self._loop = asyncio.get_running_loop()
        #: (when it arrives, piece), the last piece empty; full when the target is slow
        self._under_way = asyncio.Queue[tuple[float, bytes]](PIECES_UNDER_WAY)

    async def carry(self) -> Ending:
        """Carry bytes until the source closes or the fault comes."""
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(self._receive())
            ending = await self._deliver()
            receiving.cancel()
        return ending

    async def _receive(self) -> None:
        data = b"-"
        while data:
            try:
                data = await self._loop.sock_recv(self._source, READ_BYTES)
            except ConnectionError:
                data = b""
            arrives_at = self._loop.time() + self._faults.latency_s
            size = self._faults.piece_bytes
            for start in range(0, max(len(data), 1), size):
                await self._under_way.put((arrives_at, data[start : start + size]))

    async def _deliver(self) -> Ending:
        allowed = float("inf") if self._faults.at_byte is None else self._faults.at_byte
        while True:
            arrives_at, piece = await self._under_way.get()
            await asyncio.sleep(arrives_at - self._loop.time())
            if not piece:
                return Ending.CLOSE
            passing = piece[: int(min(allowed, len(piece)))]
            try:
                await self._loop.sock_sendall(self._target, passing)
            except ConnectionError:
                return Ending.CLOSE
            allowed -= len(passing)
            if allowed == 0:
                if self._faults.ending is Ending.SILENCE:
                    await self._loop.create_future()  # until the other direction ends
                return self._faults.ending
            if self._faults.bytes_per_s is not None:
                await asyncio.sleep(len(passing) / self._faults.bytes_per_s)


@contextmanager
def running_proxy(server_port: int) -> Iterator[FaultProxy]:
    """Run a proxy in front of a loopback port."""
    proxy = FaultProxy(server_port)
    with proxy.running():
        yield proxy
