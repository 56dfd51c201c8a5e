"""What a failing server means, and that no connection is waited for without end."""

import asyncio
import ssl
from contextlib import suppress

import anyio
import anyio.lowlevel
import asyncpg
import pytest

from emailsync.domain.errors import Misconfigured, StoreUnavailable
from emailsync.store import database as database_module
from emailsync.store.database import (
    MAX_TRIES,
    Connection,
    Database,
    as_unavailable,
    is_data_error,
    open_database,
)
from store_rig import StoreRig

UNAVAILABLE = [
    TimeoutError,
    OSError,
    ConnectionRefusedError,
    ConnectionResetError,
    ssl.SSLError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.ProtocolError,
    asyncpg.OutdatedSchemaCacheError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.ConnectionFailureError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    asyncpg.TooManyConnectionsError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.PostgresIOError,
    asyncpg.DataCorruptedError,
    asyncpg.IndexCorruptedError,
]
OF_THE_DATA = [
    asyncpg.exceptions._base.DataError,
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.UntranslatableCharacterError,
    asyncpg.InvalidTextRepresentationError,
    asyncpg.NumericValueOutOfRangeError,
    asyncpg.CardinalityViolationError,
    asyncpg.UniqueViolationError,
    asyncpg.ForeignKeyViolationError,
    asyncpg.NotNullViolationError,
    asyncpg.CheckViolationError,
    asyncpg.ProgramLimitExceededError,
]
OUR_BUG = [
    asyncpg.PostgresSyntaxError,
    asyncpg.UndefinedTableError,
    asyncpg.InFailedSQLTransactionError,
    ValueError,
    KeyError,
]
A_LOCK_IS_WAITED_FOR = """
SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)
"""


@pytest.mark.parametrize("kind", UNAVAILABLE, ids=lambda kind: kind.__name__)
def test_what_the_server_did_is_unavailability(kind: type[Exception]) -> None:
    error = kind("why")

    assert isinstance(as_unavailable(error), StoreUnavailable)
    assert not is_data_error(error)


@pytest.mark.parametrize("kind", OF_THE_DATA, ids=lambda kind: kind.__name__)
def test_what_the_values_did_is_not(kind: type[Exception]) -> None:
    error = kind("why")

    assert as_unavailable(error) is None
    assert is_data_error(error)


@pytest.mark.parametrize("kind", OUR_BUG, ids=lambda kind: kind.__name__)
def test_what_we_did_is_neither(kind: type[Exception]) -> None:
    error = kind("why")

    assert as_unavailable(error) is None
    assert not is_data_error(error)


async def test_a_backend_killed_within_a_transaction_is_unavailability(rig: StoreRig) -> None:
    """Nothing of the page stays, and the next one gets a new connection."""

    async def work(connection: Connection) -> None:
        await connection.execute("INSERT INTO tenants (id) VALUES ('half')")
        await rig.connection.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await connection.execute("INSERT INTO tenants (id) VALUES ('other half')")

    with pytest.raises(StoreUnavailable):
        await rig.database.transact(work)

    assert await rig.rows("SELECT id FROM tenants") == [{"id": "acme"}]
    assert (await rig.apply([rig.message(1)])).created == 1


async def test_a_server_that_became_a_standby_costs_the_pool_its_connections(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """After a failover the same address leads to the new primary, the old connections do not."""
    async with database.connection() as first:
        before = first.get_server_pid()
        await first.execute("SET default_transaction_read_only = on")

    with pytest.raises(StoreUnavailable):
        await database.transact(lambda inside: inside.execute("CREATE TABLE x ()"))

    async with database.connection() as second:
        assert second.get_server_pid() != before
    assert await database.is_ready()


async def test_a_server_that_takes_no_writes_is_not_ready(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A standby says so of itself; so does a primary that was set read-only for a full disk."""
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    async with database.connection() as pooled:
        await pooled.execute("SET default_transaction_read_only = on")

    assert not await database.is_ready()


async def test_a_connection_is_not_waited_for_without_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "ACQUIRE_TIMEOUT_S", 0.1)
    async with open_database(database_url, pool_max=1) as database, database.connection():
        with anyio.fail_after(5), pytest.raises(StoreUnavailable):
            async with database.connection():
                pass


async def test_a_lost_race_is_tried_a_bounded_number_of_times(database: Database) -> None:
    tries = 0

    async def work(_connection: Connection) -> None:
        nonlocal tries
        tries += 1
        raise asyncpg.SerializationError("again")

    with pytest.raises(StoreUnavailable):
        await database.transact(work)

    assert tries == MAX_TRIES


async def test_sessions_are_impatient(database: Database) -> None:
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    async with database.connection() as connection:
        values = [await connection.fetchval(f"SHOW {name}") for name in names]
        application = await connection.fetchval("SHOW application_name")

    assert values == ["1min", "10s", "10s"]
    assert application == "emailsyncd"


async def test_a_server_that_is_not_there_is_unavailable(unused_tcp_port: int) -> None:
    url = f"postgresql://nobody@127.0.0.1:{unused_tcp_port}/none"

    with pytest.raises(StoreUnavailable):
        async with open_database(url, pool_max=2):
            pass


async def test_a_url_that_is_none_is_a_matter_of_settings() -> None:
    with pytest.raises(Misconfigured):
        async with open_database("mysql://localhost/x", pool_max=2):
            pass


async def test_a_transaction_that_lost_its_connection_says_what_it_lost_it_by(
    rig: StoreRig,
) -> None:
    """The driver's own words are that the transaction cannot be left, which helps nobody."""

    async def work(connection: Connection) -> None:
        await rig.connection.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await connection.fetchval("SELECT 1")

    with pytest.raises(StoreUnavailable) as caught:
        await rig.database.transact(work)

    assert "__aexit__" not in caught.value.message


async def test_a_transaction_that_is_cancelled_is_rolled_back_without_an_alarm(
    rig: StoreRig, database_url: str
) -> None:
    """A sync that is interrupted meets it; the driver logs an error where a ROLLBACK was cut."""
    alarms: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: alarms.append(context["message"]))
    await rig.connection.execute("SELECT pg_advisory_lock(1)")

    async def work(connection: Connection) -> None:
        await connection.execute("SELECT pg_advisory_xact_lock(1)")

    async with (
        open_database(database_url, pool_max=2) as database,
        anyio.create_task_group() as group,
    ):
        group.start_soon(database.transact, work)
        with anyio.fail_after(10):
            while not await rig.connection.fetchval(A_LOCK_IS_WAITED_FOR):
                await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()

    assert alarms == []


async def test_a_share_of_the_pool_is_no_larger_than_it_may_be(database_url: str) -> None:
    """Who waits for a place goes on as soon as another one has left."""
    async with open_database(database_url, pool_max=4) as database, database.share(2) as shared:
        at_once, most = 0, 0

        async def work() -> None:
            nonlocal at_once, most
            async with shared.connection() as connection:
                at_once += 1
                most = max(most, at_once)
                await connection.execute("SELECT pg_sleep(0.01)")
                at_once -= 1

        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(work())

    assert most == 2


async def test_a_share_keeps_its_connections_but_none_that_failed_or_was_closed(
    database_url: str,
) -> None:
    async with open_database(database_url, pool_max=4) as database, database.share(1) as shared:
        first, second = await backend_of(shared), await backend_of(shared)
        with pytest.raises(asyncpg.UndefinedTableError):
            async with shared.connection() as connection:
                await connection.execute("SELECT FROM nothing")
        async with database.connection() as connection:
            ended = await backend_of(shared)
            await connection.execute("SELECT pg_terminate_backend($1)", ended)
        with suppress(StoreUnavailable):
            await backend_of(shared)  # it may not have heard yet that its connection is gone
        third = await backend_of(shared)

    assert first == second
    assert third != ended


async def backend_of(database: Database) -> int:
    """Return the server's process behind the next connection."""
    async with database.connection() as connection:
        return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def test_a_share_that_ended_has_given_every_connection_back(database_url: str) -> None:
    """Otherwise closing the pool would wait for them."""
    async with open_database(database_url, pool_max=4) as database:
        async with database.share(2) as shared:
            await backend_of(shared)
            kept = database._pool.get_size() - database._pool.get_idle_size()

        out = database._pool.get_size() - database._pool.get_idle_size()

    assert (kept, out) == (1, 0)
