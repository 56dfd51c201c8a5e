"""What the private servers of the tests have in common: an ordinary user, a folder, a port, an end.

Each server runs as a child of the test process, listens on loopback only and dies with its parent,
however that ends. Nothing here knows which server it is.
"""

import grp
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 30.0  #: of a server on a machine that is busy with other things
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02  #: the servers announce their readiness to nobody but systemd

#: Below Linux's range for outgoing connections (32768 and up), so that none of those takes a port
#: between our finding it free and the server's binding it.
PORT_RANGE = range(20_000, 32_000)


class ServerFailedError(Exception):
    """A private server is not installed or did not start."""


@dataclass(frozen=True, slots=True)
class OrdinaryUser:
    """Whom a server runs as: PostgreSQL refuses to be root, Dovecot's processes should not be."""

    name: str
    group: str
    uid: int
    gid: int

    def command(self, words: Sequence[str | Path], *, on_parent_death: signal.Signals) -> list[str]:
        """Return the command that runs `words` as this user and dies with its parent."""
        prefix = ["setpriv", "--pdeathsig", on_parent_death.name.removeprefix("SIG")]
        if os.geteuid() != self.uid:
            prefix += [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        return [*prefix, "--", *map(str, words)]


def ordinary_user() -> OrdinaryUser:
    """Return the current user, or for root the one that owns nothing."""
    entry = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    group = grp.getgrgid(entry.pw_gid).gr_name
    return OrdinaryUser(entry.pw_name, group, entry.pw_uid, entry.pw_gid)


@contextmanager
def folder_of(user: OrdinaryUser) -> Iterator[Path]:
    """Yield a new folder that belongs to `user`.

    Not below pytest's own temporary folder: only the user who runs the tests may enter that.
    """
    folder = Path(tempfile.mkdtemp(prefix="emailsync-test-"))
    os.chown(folder, user.uid, user.gid)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    for port in random.sample(PORT_RANGE, 100):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise ServerFailedError(f"100 ports of {PORT_RANGE} are all taken")


@contextmanager
def running(
    command: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    ready: Callable[[], bool],
    stop_signal: signal.Signals,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; the block begins when `ready` says so.

    Raises:
        ServerFailedError: it ended or was not ready in time; the message ends with its log.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        _wait_until_ready(process, log, ready)
        yield process
    finally:
        process.send_signal(stop_signal)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(
    process: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]
) -> None:
    give_up_at = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > give_up_at:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise ServerFailedError(f"{process.args!r} did not start:\n{tail}")
        time.sleep(POLL_S)


def accepts_connections(port: int) -> bool:
    """Return whether somebody listens on this loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1.0).close()
    except OSError:
        return False
    return True
