"""The change feed loses nothing and repeats nothing, whoever writes and however late he commits."""

import random
from collections.abc import AsyncIterator, Sequence

import anyio
import asyncpg
import pytest

from emailsync.domain.accounts import TenantId
from emailsync.store.database import Database
from emailsync.store.feed import START, Change, ChangeFeed
from store_rig import add_account

Connection = "asyncpg.Connection[asyncpg.Record]"
WRITE = """
INSERT INTO changes (tenant_id, provider_id, message_id, kind)
SELECT $1, gen_random_uuid(), number, 'created' FROM generate_series($2::bigint, $3) AS number
"""
CHANGES = 100_000
WRITERS = 8
TENANTS = 5
ROLLED_BACK = 0.1


@pytest.fixture
def feed(database: Database) -> ChangeFeed:
    return ChangeFeed(database)


@pytest.fixture
async def late_writer(database_url: str) -> AsyncIterator[Connection]:
    """A connection of somebody whose transaction takes long."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def messages(changes: Sequence[Change]) -> list[int]:
    return [change.message_id for change in changes]


async def test_a_change_that_commits_late_is_not_overtaken(
    feed: ChangeFeed, connection: Connection, late_writer: Connection
) -> None:
    """The late one has the smaller number, and a reader by numbers would never see it."""
    await add_account(connection)
    late = late_writer.transaction()
    await late.start()
    await late_writer.execute(WRITE, "acme", 1, 1)
    await connection.execute(WRITE, "acme", 2, 2)

    before = await feed.read(START, limit=10)
    await late.commit()
    after = await feed.read(START, limit=10)

    assert (before.changes, before.is_held_up) == ([], True)
    assert (messages(after.changes), after.is_held_up) == ([1, 2], False)


async def test_a_transaction_that_only_reads_holds_nothing_up(
    feed: ChangeFeed, connection: Connection, late_writer: Connection
) -> None:
    """A dump takes hours."""
    await add_account(connection)
    async with late_writer.transaction(isolation="repeatable_read", readonly=True):
        await late_writer.fetchval("SELECT count(*) FROM changes")
        await connection.execute(WRITE, "acme", 1, 1)

        reading = await feed.read(START, limit=10)

    assert (messages(reading.changes), reading.is_held_up) == ([1], False)


async def test_pages_go_on_behind_the_last_change_of_the_one_before(
    feed: ChangeFeed, connection: Connection
) -> None:
    await add_account(connection, "acme")
    await add_account(connection, "other")
    await connection.execute(WRITE, "acme", 1, 3)
    await connection.execute(WRITE, "other", 4, 6)

    first = await feed.read(START, limit=4)
    second = await feed.read(first.changes[-1].position, limit=4)
    own = await feed.read(START, limit=10, tenant_id=TenantId("other"))

    assert messages(first.changes) == [1, 2, 3, 4]
    assert messages(second.changes) == [5, 6]
    assert messages(own.changes) == [4, 5, 6]


async def write(url: str, number: int) -> None:
    """Write a share of the changes in transactions that take their time; some roll back."""
    choice = random.Random(number)
    writer = await asyncpg.connect(url)
    first, end = number * CHANGES // WRITERS, (number + 1) * CHANGES // WRITERS
    while first < end:
        last = min(first + choice.randint(1, 400), end) - 1
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute(WRITE, f"t{choice.randrange(TENANTS)}", first, last)
        await anyio.sleep(choice.choice((0, 0, 0.001, 0.02)))
        if choice.random() < ROLLED_BACK:
            await transaction.rollback()
        else:
            await transaction.commit()
            first = last + 1
    await writer.close()


async def follow(feed: ChangeFeed, is_over: anyio.Event, seen: list[int]) -> None:
    """Read on until nobody writes any more and everything is read."""
    position = START
    while True:
        was_over = is_over.is_set()
        reading = await feed.read(position, limit=1_000)
        if reading.changes:
            seen.extend(messages(reading.changes))
            position = reading.changes[-1].position
        elif was_over and not reading.is_held_up:
            return


@pytest.mark.timeout(240)
async def test_three_readers_see_each_of_100000_concurrent_changes_once_and_in_one_order(
    feed: ChangeFeed, database_url: str, connection: Connection
) -> None:
    """Writers hold their transactions open for random whiles, and some roll back."""
    for tenant in range(TENANTS):
        await add_account(connection, f"t{tenant}")
    read: list[list[int]] = [[], [], []]
    is_over = anyio.Event()

    async with anyio.create_task_group() as group:
        for seen in read:
            group.start_soon(follow, feed, is_over, seen)
        async with anyio.create_task_group() as writers:
            for number in range(WRITERS):
                writers.start_soon(write, database_url, number)
        is_over.set()

    assert read[0] == read[1] == read[2]
    assert sorted(read[0]) == list(range(CHANGES))
