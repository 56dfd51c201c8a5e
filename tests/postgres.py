"""A private PostgreSQL cluster of Debian's binaries, by default as durable as the server is.

It knows nothing of the schema: the migrated template is made by the fixture that uses it.
"""

import itertools
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from servers import (
    LOOPBACK,
    OrdinaryUser,
    ServerFailedError,
    folder_of,
    free_port,
    ordinary_user,
    running,
)

SUPERUSER = "postgres"

#: What differs from the server's defaults.
CONFIGURATION = """
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 200
log_min_messages = warning
log_min_error_statement = panic   # a failing statement belongs to its test, not to this log
"""

#: For data that nobody misses when the machine loses its power.
NOT_DURABLE = """
fsync = off
full_page_writes = off
"""


def find_binaries() -> Path:
    """Return the folder of the newest installed server's programs.

    Raises:
        ServerFailedError: there is none; the message names the Debian package.
    """
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: float(re.sub(r"[^0-9.]", "", path.parent.parent.name) or 0),
    )
    if not installed:
        raise ServerFailedError("PostgreSQL is missing: apt-get install postgresql")
    return installed[-1].parent


@dataclass(frozen=True, slots=True)
class PostgresCluster:
    """A running cluster; every database in it may be used by anyone on this machine."""

    binaries: Path
    port: int
    pid: int
    folder: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str) -> str:
        """Return the connection URL of a database."""
        return f"postgresql://{SUPERUSER}@{LOOPBACK}:{self.port}/{database}"

    def create_database(self, name: str | None = None, *, template: str = "template0") -> str:
        """Create a database, under a name of its own when none is given; return the name."""
        name = name or f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, connected or not."""
        self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run one statement by psql, which needs no event loop; return the rows it shows."""
        command = [str(self.binaries / "psql"), "-XqAt", self.url(database), "-c", statement]
        done = subprocess.run(
            command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        return done.stdout


@contextmanager
def running_cluster(*, configuration: str = "", durable: bool = True) -> Iterator[PostgresCluster]:
    """Create and run a cluster; `configuration` is added to its postgresql.conf.

    Durable is what speed has to be measured against, and what survives more than a killed process.
    """
    binaries = find_binaries()
    user = ordinary_user()
    with folder_of(user) as folder:
        data = folder / "data"
        _initialise(binaries, user, data)
        port = free_port()
        with (data / "postgresql.conf").open("a") as settings:
            settings.write(CONFIGURATION.format(host=LOOPBACK, port=port) + configuration)
            settings.write("" if durable else NOT_DURABLE)
        with running(
            user.command([binaries / "postgres", "-D", data], on_parent_death=signal.SIGQUIT),
            cwd=folder,
            log=folder / "postgres.log",
            ready=lambda: _is_ready(binaries, port),
            # "Fast": open connections are closed, data is safe; or "immediate": it need not be.
            stop_signal=signal.SIGINT if durable else signal.SIGQUIT,
        ) as process:
            yield PostgresCluster(binaries, port, process.pid, folder)


def _initialise(binaries: Path, user: OrdinaryUser, data: Path) -> None:
    words: list[str | Path] = [
        binaries / "initdb",
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]
    done = subprocess.run(
        user.command(words, on_parent_death=signal.SIGKILL),
        cwd=data.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServerFailedError(f"initdb failed:\n{done.stdout}{done.stderr}")


def _is_ready(binaries: Path, port: int) -> bool:
    question = [str(binaries / "pg_isready"), "--quiet", f"--host={LOOPBACK}", f"--port={port}"]
    return subprocess.run(question, check=False, stdin=subprocess.DEVNULL).returncode == 0
