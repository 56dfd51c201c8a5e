"""The connections to Postgres: how many, how patient, and what their failures mean.

Every failure that is the server's becomes `StoreUnavailable` here; a failure that is the data's
stays what it is and is recognised by `is_data_error`. Knows no table.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias, TypeVar

import anyio
import asyncpg
from asyncpg.pool import PoolConnectionProxy

from emailsync.domain.errors import Misconfigured, StoreUnavailable

T = TypeVar("T")
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

CONNECT_TIMEOUT_S: Final = 5.0
ACQUIRE_TIMEOUT_S: Final = 5.0  #: a waiter for a connection gives up: more waiting helps nobody
STATEMENT_TIMEOUT_S: Final = 60  #: of the server; a folder of 100,000 messages re-numbered fits
COMMAND_TIMEOUT_S: Final = 70.0  #: of the client, for a network that died silently
LOCK_TIMEOUT_S: Final = 10
IDLE_IN_TRANSACTION_TIMEOUT_S: Final = 10
"""A daemon that was stopped inside a transaction still locks its account's row, so nobody can take
the account over, whatever its lease says. One that works pauses for milliseconds."""
READY_TIMEOUT_S: Final = 2.0
CLOSE_TIMEOUT_S: Final = 5.0

SESSION: Final = {
    "application_name": "emailsyncd",
    "timezone": "UTC",
    "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
    "lock_timeout": f"{LOCK_TIMEOUT_S}s",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_S}s",
    "work_mem": "16MB",  # a page of 8 MiB is taken apart in memory, not in a temporary file
    "jit": "off",  # compiling costs more than any statement of ours takes
    # A plan that was cached for a small table is used on when it is large: indexes suit both.
    "enable_seqscan": "off",
}

MAX_TRIES: Final = 5  #: of a transaction that only lost a race
RETRY_PAUSE_S: Final = 0.05  #: times the try, times a jitter in [0, 1)

LOST_RACES: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.InvalidCachedStatementError,  # a migration ran beside us
    asyncpg.OutdatedSchemaCacheError,
)
"""The transaction was rolled back through no fault of its own: the same again may pass."""

READ_ONLY: Final = (asyncpg.ReadOnlySQLTransactionError,)
"""The primary became a standby: every pooled connection points at the wrong server."""

SERVER_FAILURES: Final = (
    TimeoutError,  # before OSError, whose subclass it is: waiting for a connection or an answer
    OSError,
    *LOST_RACES,
    *READ_ONLY,
    asyncpg.InterfaceError,  # the connection is closed; its ValueErrors are data, see below
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,  # 08
    asyncpg.InvalidAuthorizationSpecificationError,  # 28: wrong role or password
    asyncpg.InvalidCatalogNameError,  # 3D000: no such database
    asyncpg.IdleInTransactionSessionTimeoutError,  # 25P03
    asyncpg.InsufficientResourcesError,  # 53: disk full, out of memory, too many connections
    asyncpg.ObjectNotInPrerequisiteStateError,  # 55: lock_timeout
    asyncpg.OperatorInterventionError,  # 57: shutdown, crash, statement_timeout
    asyncpg.PostgresSystemError,  # 58: I/O error
    asyncpg.InternalServerError,  # XX: damaged data
)
"""What the server or the way to it did. Anything else is our bug or the data's fault."""

DATA_CLASSES: Final = ("21", "22", "23", "54")
"""SQLSTATE classes of rows that no server will take: cardinality, data, integrity, limits."""


def is_data_error(error: Exception) -> bool:
    """Tell whether the values of a statement were refused, by the server or by the driver."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(DATA_CLASSES)
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)


def as_unavailable(error: Exception) -> StoreUnavailable | None:
    """Return what a failure means for a sync; None when it is not the server's failure.

    The message names the failure and never a value: the server's DETAIL would.
    """
    if is_data_error(error) or not isinstance(error, SERVER_FAILURES):
        return None
    first = _first_failure(error)
    reason = next(iter(str(first).splitlines()), "") or "no answer in time"
    return StoreUnavailable(f"the database is not available: {type(first).__name__}: {reason}")


def _first_failure(error: BaseException) -> BaseException:
    """Return what broke the connection, where `error` only says that it cannot be used any more."""
    driver = (asyncpg.InterfaceError, asyncpg.InternalClientError)
    while isinstance(error, driver) and isinstance(error.__context__, SERVER_FAILURES):
        error = error.__context__
    return error


class _StatelessConnection(asyncpg.Connection):
    """A pooled connection whose session state nobody changes, so returning it resets nothing."""

    def get_reset_query(self) -> str:
        """Save the round trip of every release; an open transaction is rolled back all the same."""
        return ""


class Database:
    """A bounded pool. Not more than one connection a task: a second one could wait for ever."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", *, share: int = 0) -> None:
        """Use a pool.

        Args:
            pool: open.
            share: how many connections may be used at once, and are kept for the next one to come;
                0: all there are, and none is kept.
        """
        self._pool = pool
        self._keeps = share > 0
        self._kept: list[Connection] = []
        self._places = asyncio.Semaphore(share or pool.get_max_size())
        self.spare = pool.get_max_size() // 4  #: connections that may be held without working

    @asynccontextmanager
    async def share(self, connections: int) -> AsyncIterator["Database"]:
        """Lend the pool to somebody who may use so many connections at once and answers quickly.

        His connections stay out of the pool: to give one back takes three rounds of the event loop,
        which a full sync load makes long.
        """
        shared = Database(self._pool, share=connections)
        try:
            yield shared
        finally:
            for connection in shared._kept:
                await self._pool.release(connection)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection outside a transaction.

        Raises:
            StoreUnavailable: none was free in time, or the server failed.
        """
        try:
            async with self._place(), self._taken() as connection:
                yield connection
        except Exception as error:
            if isinstance(error, READ_ONLY):
                await self._pool.expire_connections()
            if unavailable := as_unavailable(error):
                raise unavailable from error
            raise

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Wait for a place among those who share the pool, as long as for a connection."""
        async with asyncio.timeout(ACQUIRE_TIMEOUT_S):
            await self._places.acquire()
        try:
            yield
        finally:
            self._places.release()

    @asynccontextmanager
    async def _taken(self) -> AsyncIterator[Connection]:
        """Take a connection that was kept, or one of the pool's; one that failed is not kept."""
        connection = self._kept.pop() if self._kept else None
        if connection is None or connection.is_closed():
            connection = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
        is_kept = False
        try:
            yield connection
            is_kept = self._keeps
        finally:
            if is_kept:
                self._kept.append(connection)
            else:
                await self._pool.release(connection)

    async def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in one transaction, whole again when it only lost a race; see `persist`."""

        async def in_transaction(connection: Connection) -> T:
            with anyio.CancelScope() as ending:
                async with connection.transaction():
                    try:
                        return await work(connection)
                    except BaseException:  # anyio cancels again and again: also a ROLLBACK
                        ending.shield = True
                        ending.deadline = anyio.current_time() + CLOSE_TIMEOUT_S
                        raise
            raise TimeoutError("the server did not roll back in time")

        return await self.persist(in_transaction)

    async def persist(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work`, a single statement or transaction, again when it only lost a race.

        `work` runs up to `MAX_TRIES` times, so it has no effect outside the database.

        Raises:
            StoreUnavailable: the server failed. Was that during COMMIT, the transaction may stand
                nevertheless: what is written has to bear being written again.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self.connection() as connection:
                    return await work(connection)
            except StoreUnavailable as error:
                if attempt == MAX_TRIES or not isinstance(error.__cause__, LOST_RACES):
                    raise
            await asyncio.sleep(RETRY_PAUSE_S * attempt * random.random())  # noqa: S311 - no secret

    async def is_ready(self) -> bool:
        """Tell whether the server answers and lets us write."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S), self.connection() as connection:
                return bool(await connection.fetchval("SHOW transaction_read_only") == "off")
        except (StoreUnavailable, TimeoutError):
            return False


@asynccontextmanager
async def open_database(url: str, *, pool_max: int) -> AsyncIterator[Database]:
    """Open the pool for as long as the context lasts.

    Raises:
        StoreUnavailable: the server cannot be reached.
        Misconfigured: the URL is none.
    """
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=pool_max,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            connection_class=_StatelessConnection,
            server_settings=SESSION,
        )
    except asyncpg.ClientConfigurationError as error:
        raise Misconfigured(f"database.url: {error}") from error
    except Exception as error:
        raise as_unavailable(error) or error from error
    try:
        yield Database(pool)
    finally:
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            await pool.close()
        pool.terminate()  # what did not come back in time
