"""What the tests of the store share."""

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from emailsync.config import LiveSettings, Settings
from emailsync.store.database import Database, open_database
from emailsync.store.leases import PostgresLeaseStore
from store_rig import StoreRig, store_rig


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[StoreRig]:
    """A store with one leased account and its inbox."""
    async with store_rig(database_url) as rig:
        yield rig


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on a migrated database without rows."""
    async with open_database(database_url, pool_max=4) as database:
        yield database


@pytest.fixture
async def connection(
    database_url: str,
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection of the test's own to the same database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def store_of(database: Database) -> Callable[[str], PostgresLeaseStore]:
    """Make the lease store of a daemon; its circuits open at the second failure, for a minute."""
    breaker = {"threshold": 2, "timeout_ms": 60_000}
    settings = LiveSettings(Settings.model_validate({"circuit_breaker": breaker}))
    return lambda instance: PostgresLeaseStore(database, settings, instance)


@pytest.fixture
def store(store_of: Callable[[str], PostgresLeaseStore]) -> PostgresLeaseStore:
    """The lease store of the daemon `one`."""
    return store_of("one")
