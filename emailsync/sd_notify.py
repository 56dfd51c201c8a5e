"""The systemd side of the daemon: readiness, reloads, and a watchdog fed by the event loop.

Speaks sd_notify(3) itself: one datagram a message to `NOTIFY_SOCKET`. Without that variable, or
when nobody listens, everything here does nothing.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import anyio

BEATS_PER_TIMEOUT: Final = 2  #: as sd_watchdog_enabled(3) recommends


class ServiceManager:
    """Tells the service manager how the daemon is."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL byte of Linux's abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = _watchdog_timeout_s(environ)

    def ready(self) -> None:
        """Say that the start, or the reload, is over."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that a reload begins; systemd asks for the time it began, to order the two."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}")

    def stopping(self) -> None:
        """Say that the stop begins."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send("STATUS=" + " ".join(text.split()))

    async def keep_watchdog_calm(self) -> None:
        """Beat at half of the watchdog's timeout: a loop that is stuck stops beating."""
        while self._watchdog_s is not None:
            self._send("WATCHDOG=1")
            await anyio.sleep(self._watchdog_s / BEATS_PER_TIMEOUT)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A service manager that is away must not stop the mail.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto(message.encode(), self._address)


def _watchdog_timeout_s(environ: Mapping[str, str]) -> float | None:
    """Return the timeout that is meant for this process, if any."""
    timeout_us = environ.get("WATCHDOG_USEC", "")
    meant_for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not timeout_us.isdecimal() or int(timeout_us) == 0 or not meant_for_us:
        return None
    return int(timeout_us) / 1_000_000
