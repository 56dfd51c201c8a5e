"""What systemd would receive, on a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from emailsync.sd_notify import ServiceManager


def listen(address: str) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(address)
    channel.setblocking(False)
    return channel


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with listen(str(tmp_path / "notify")) as channel:
        yield channel


def received(channel: socket.socket) -> str:
    return channel.recv(4_096).decode()


def test_it_tells_its_states(systemd: socket.socket) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": systemd.getsockname()})

    manager.ready()
    manager.status("3 accounts\nREADY=0")
    manager.stopping()

    assert received(systemd) == "READY=1"
    assert received(systemd) == "STATUS=3 accounts READY=0"
    assert received(systemd) == "STOPPING=1"


def test_a_reload_carries_the_time_it_began(systemd: socket.socket) -> None:
    ServiceManager({"NOTIFY_SOCKET": systemd.getsockname()}).reloading()

    state, time = received(systemd).split("\n")
    assert state == "RELOADING=1"
    assert time.removeprefix("MONOTONIC_USEC=").isdecimal()


def test_an_abstract_socket_is_reached() -> None:
    name = f"emailsyncd-test-{os.getpid()}"

    with listen(f"\0{name}") as channel:
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).ready()

        assert received(channel) == "READY=1"


def test_without_a_service_manager_nothing_happens(tmp_path: Path) -> None:
    ServiceManager({}).ready()
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


async def test_the_watchdog_is_fed_before_half_of_its_timeout(systemd: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "40000"}
    beats = []

    async with anyio.create_task_group() as group:
        group.start_soon(ServiceManager(environ).keep_watchdog_calm)
        with anyio.fail_after(5):
            while len(beats) < 3:
                await anyio.wait_readable(systemd)
                beats.append(received(systemd))
        group.cancel_scope.cancel()

    assert beats == ["WATCHDOG=1"] * 3


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "x"},
        {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"},
    ],
)
async def test_no_watchdog_means_no_beats(environ: dict[str, str]) -> None:
    with anyio.fail_after(5):
        await ServiceManager(environ).keep_watchdog_calm()
