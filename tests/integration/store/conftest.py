"""What the tests of the store share."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from emailsync.store.database import Database, open_database
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
