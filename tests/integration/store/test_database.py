"""What a failing server means, and that no connection is waited for without end."""

import ssl

import anyio
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
