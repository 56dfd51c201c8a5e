"""Several daemons on one database: nothing is done twice, and losing a race is no failure."""

from collections import Counter
from datetime import timedelta

import anyio
import asyncpg

from emailsync.config import LiveSettings, Settings
from emailsync.domain.priority import QueueName
from emailsync.ports import ClaimRequest
from emailsync.store.database import Connection, Database
from emailsync.store.leases import PostgresLeaseStore
from store_rig import add_account

SETTINGS = LiveSettings(Settings())


async def test_concurrent_claims_never_overlap(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    for number in range(200):
        await add_account(connection, f"tenant{number % 7}")
    claimed: Counter[object] = Counter()

    async def claim_all(instance: str) -> None:
        store = PostgresLeaseStore(database, SETTINGS, instance)
        while jobs := await store.claim(ClaimRequest(queue=QueueName.NORMAL, limit=9)):
            claimed.update(job.key for job in jobs)

    async with anyio.create_task_group() as group:
        for instance in ("one", "two", "three", "four"):
            group.start_soon(claim_all, instance)

    assert len(claimed) == 200
    assert set(claimed.values()) == {1}


async def test_exactly_one_caller_gets_the_probe_of_an_endpoint(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    for _ in range(8):
        await add_account(connection)
    stores = [PostgresLeaseStore(database, SETTINGS, instance) for instance in ("one", "two")]
    jobs = await stores[0].claim(ClaimRequest(queue=QueueName.NORMAL, limit=8))
    before = await stores[0].admit(jobs[0])
    await connection.execute(
        "INSERT INTO circuits (provider_type, endpoint, state, failures, retry_at)"
        " VALUES ('imap', $1, 'OPEN', 5, now() + interval '1 hour')",
        jobs[0].endpoint,
    )
    too_early = await stores[0].admit(jobs[0])
    await connection.execute("UPDATE circuits SET retry_at = now()")
    verdicts = []

    async def ask(number: int) -> None:
        verdicts.append(await stores[number % 2].admit(jobs[number]))

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(ask, number)

    row = await connection.fetchrow("SELECT state, retry_at, now() AS now FROM circuits")
    assert row is not None
    assert before.allowed
    assert not too_early.allowed
    assert sum(verdict.allowed for verdict in verdicts) == 1
    assert {verdict.retry_at for verdict in verdicts} == {None, row["retry_at"]}
    assert row["state"] == "HALF_OPEN"
    assert row["retry_at"] > row["now"] + timedelta(minutes=4)


async def test_a_probe_that_never_reports_is_given_up(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await add_account(connection)
    store = PostgresLeaseStore(database, SETTINGS, "one")
    (job,) = await store.claim(ClaimRequest(queue=QueueName.NORMAL, limit=1))
    await connection.execute(
        "INSERT INTO circuits (provider_type, endpoint, state, failures, retry_at)"
        " VALUES ('imap', $1, 'HALF_OPEN', 5, now() - interval '1 second')",
        job.endpoint,
    )

    assert (await store.admit(job)).allowed
    assert not (await store.admit(job)).allowed


async def test_a_deadlock_is_run_again_until_both_sides_are_through(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await connection.execute("CREATE TABLE counters (name text PRIMARY KEY, value int)")
    await connection.execute("INSERT INTO counters VALUES ('a', 0), ('b', 0)")
    meet = [anyio.Event(), anyio.Event()]
    tries: Counter[str] = Counter()

    async def count(me: int, order: str) -> None:
        async def work(inside: Connection) -> None:
            tries[order] += 1
            add = "UPDATE counters SET value = value + 1 WHERE name = $1"
            await inside.execute(add, order[0])
            meet[me].set()
            await meet[1 - me].wait()
            await inside.execute(add, order[1])

        await database.transact(work)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(count, 0, "ab")
            group.start_soon(count, 1, "ba")

    values = await connection.fetch("SELECT value FROM counters")
    assert [row["value"] for row in values] == [2, 2]
    assert sum(tries.values()) == 3
