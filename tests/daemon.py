"""`emailsyncd` as its operator sees it: a process with a log, signals and a service manager.

Waiting here means looking for what the daemon itself says, never guessing how long it takes.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import process_usage

COMMAND = f"{sysconfig.get_path('scripts')}/emailsyncd"
WAIT_S = 30.0  #: for anything that the daemon should say; generous, since machines are shared
POLL_S = 0.01
DATAGRAM_BYTES = 4096


class DaemonFailedError(Exception):
    """The daemon ended, or did not say in time what it should; the message has its last lines."""


@dataclass(slots=True)
class Daemon:
    """A running `emailsyncd --config FILE`."""

    process: subprocess.Popen[bytes]
    log_file: Path
    service_manager: socket.socket
    notifications: list[str] = field(default_factory=list)  #: what sd_notify said, in order

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def log(self) -> Sequence[dict[str, Any]]:
        """Return the lines logged so far; one that is still being written is left out."""
        lines = self.log_file.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self, event: str, **facts: Any) -> Sequence[dict[str, Any]]:
        """Return the lines of this event that state these facts."""
        wanted = {"event": event, **facts}
        return [line for line in self.log() if line == line | wanted]

    async def wait_for_event(
        self, event: str, *, count: int = 1, timeout_s: float = WAIT_S, **facts: Any
    ) -> dict[str, Any]:
        """Return the `count`th line of this event with these facts, once it is there.

        Raises:
            DaemonFailedError: the daemon ended without it, or the time is over.
        """
        give_up_at = time.monotonic() + timeout_s
        while len(found := self.events(event, **facts)) < count:
            self._fail_when_over(give_up_at, f"{event} {facts}")
            await asyncio.sleep(POLL_S)
        return found[count - 1]

    async def wait_for_notification(self, state: str, *, timeout_s: float = WAIT_S) -> None:
        """Return when sd_notify has said `state` since the last call, for example "READY=1".

        Raises:
            DaemonFailedError: the daemon ended without it, or the time is over.
        """
        give_up_at = time.monotonic() + timeout_s
        while True:
            try:
                message = self.service_manager.recv(DATAGRAM_BYTES).decode()
            except BlockingIOError:
                self._fail_when_over(give_up_at, state)
                await asyncio.sleep(POLL_S)
                continue
            self.notifications.append(message)
            if state in message.split("\n"):
                return

    def send(self, which: signal.Signals) -> None:
        """Send a signal, for example SIGHUP."""
        self.process.send_signal(which)

    async def terminate(self) -> int:
        """Ask the daemon to stop; return its exit code."""
        self.send(signal.SIGTERM)
        return await self.wait()

    async def kill(self) -> None:
        """Stop the daemon as a crash does."""
        self.send(signal.SIGKILL)
        await self.wait()

    async def wait(self) -> int:
        """Return the exit code, once the daemon has ended."""
        return await asyncio.to_thread(self.process.wait, WAIT_S)

    def cpu_s(self) -> float:
        """Return the processor time used so far, in seconds."""
        return process_usage.cpu_s(self.pid)

    def peak_resident_bytes(self) -> int:
        """Return the most memory ever in use."""
        return process_usage.peak_resident_bytes(self.pid)

    def _fail_when_over(self, give_up_at: float, awaited: str) -> None:
        ended = self.process.poll() is not None
        if ended or time.monotonic() > give_up_at:
            reason = f"ended with {self.process.returncode}" if ended else "is silent"
            tail = "\n".join(self.log_file.read_text().splitlines()[-30:])
            raise DaemonFailedError(f"no {awaited}: the daemon {reason}\n{tail}")


@asynccontextmanager
async def running_daemon(
    settings_file: Path,
    *,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    launcher: Sequence[str] = (),
) -> AsyncIterator[Daemon]:
    """Run the daemon until the block ends; the block begins when it says that it is ready.

    Each start writes a log of its own into `folder`. The variables of `environ` are added to those
    of the test process. `launcher` is a command that becomes the one it is given, like a sandbox.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager:
        address = f"emailsync-test-{uuid4()}"
        service_manager.bind(f"\0{address}")  # abstract: a path could be too long for a socket
        service_manager.setblocking(False)
        variables = {**os.environ, "NOTIFY_SOCKET": f"@{address}", **(environ or {})}
        command = [*launcher, COMMAND, "--config", str(settings_file)]
        daemon = _start(command, folder, variables, service_manager)
        try:
            await daemon.wait_for_notification("READY=1")
            yield daemon
        finally:
            if daemon.process.poll() is None:
                daemon.send(signal.SIGKILL)
            await daemon.wait()


def _start(
    command: Sequence[str],
    folder: Path,
    variables: Mapping[str, str],
    service_manager: socket.socket,
) -> Daemon:
    log_file = folder / f"daemon.{len(list(folder.glob('daemon.*')))}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=variables,
        )
    return Daemon(process, log_file, service_manager)
