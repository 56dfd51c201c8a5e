"""The fault proxy does the damage it promises, to the byte, and none that it does not."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from fault_proxy import Ending, FaultProxy, Faults, running_proxy
from servers import LOOPBACK, free_port

PAYLOAD = bytes(range(256)) * 1000


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    """A proxy in front of a server that says PAYLOAD and then listens until the client goes."""
    with socketserver.ThreadingTCPServer((LOOPBACK, 0), _SayPayload) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        with running_proxy(server.server_address[1]) as running:
            yield running
        server.shutdown()
        thread.join()


class _SayPayload(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(ConnectionError):
            self.request.sendall(PAYLOAD)
            while self.request.recv(65_536):
                pass


def _connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection((LOOPBACK, proxy.port), timeout=10.0)


def _read_all(connection: socket.socket) -> bytes:
    """Return what comes until all of PAYLOAD is there or the connection ends."""
    received = b""
    while len(received) < len(PAYLOAD) and (data := connection.recv(65_536)):
        received += data
    return received


def test_without_faults_every_byte_comes_through(proxy: FaultProxy) -> None:
    with _connect(proxy) as client:
        assert _read_all(client) == PAYLOAD

    assert proxy.connections == 1


@pytest.mark.parametrize("at_byte", [0, 1, 1234, len(PAYLOAD)])
def test_a_connection_is_closed_after_exactly_so_many_bytes(
    proxy: FaultProxy, at_byte: int
) -> None:
    proxy.to_client = Faults(at_byte=at_byte)

    with _connect(proxy) as client:
        assert _read_all(client) == PAYLOAD[:at_byte]


def test_a_reset_is_seen_as_a_reset(proxy: FaultProxy) -> None:
    proxy.to_client = Faults(at_byte=100, ending=Ending.RESET)

    # This server speaks first, so the reset may come while the client still connects.
    with pytest.raises(ConnectionResetError), _connect(proxy) as client:
        _read_all(client)


def test_silence_keeps_the_connection_open(proxy: FaultProxy) -> None:
    proxy.to_client = Faults(at_byte=100, ending=Ending.SILENCE)

    with _connect(proxy) as client:
        assert client.recv(100, socket.MSG_WAITALL) == PAYLOAD[:100]
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_what_the_client_sends_can_be_cut_too(proxy: FaultProxy) -> None:
    proxy.to_server = Faults(at_byte=3, ending=Ending.RESET)

    with _connect(proxy) as client:
        assert _read_all(client) == PAYLOAD
        client.sendall(b"abcdef")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_pieces_arrive_in_order_and_complete(proxy: FaultProxy) -> None:
    proxy.to_client = Faults(piece_bytes=7)

    with _connect(proxy) as client:
        assert _read_all(client) == PAYLOAD


def test_latency_delays_the_stream_once_and_not_each_piece(proxy: FaultProxy) -> None:
    proxy.to_client = Faults(latency_s=0.2, piece_bytes=1000)

    started = time.monotonic()
    with _connect(proxy) as client:
        assert _read_all(client) == PAYLOAD

    assert 0.2 <= time.monotonic() - started < 2.0


def test_a_rate_is_not_exceeded(proxy: FaultProxy) -> None:
    proxy.to_client = Faults(bytes_per_s=1_000_000, piece_bytes=10_000)

    started = time.monotonic()
    with _connect(proxy) as client:
        assert _read_all(client) == PAYLOAD

    assert time.monotonic() - started >= len(PAYLOAD) / 1_000_000


def test_all_open_connections_can_be_cut_at_once(proxy: FaultProxy) -> None:
    proxy.to_client = Faults(at_byte=10, ending=Ending.SILENCE)
    with _connect(proxy) as first, _connect(proxy) as second:
        first.recv(10, socket.MSG_WAITALL)
        second.recv(10, socket.MSG_WAITALL)

        proxy.cut_all()

        for client in (first, second):
            with pytest.raises(ConnectionResetError):
                _read_all(client)


def test_a_server_that_is_away_looks_like_a_reset() -> None:
    with (
        running_proxy(free_port()) as proxy,
        pytest.raises(ConnectionResetError),  # here too
        _connect(proxy) as client,
    ):
        _read_all(client)
