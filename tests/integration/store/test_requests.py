"""Whoever asks for a sync is served before all that is due, once for each time of asking."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emailsync.domain.accounts import AccountKey
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import QueueName
from emailsync.domain.runs import Outcome, RunRecord, RunResult, SyncCounts
from emailsync.ports import ClaimRequest
from emailsync.store.accounts import AccountStore
from emailsync.store.database import Database
from emailsync.store.leases import PostgresLeaseStore
from store_rig import KEYS, add_account

Connection = "asyncpg.Connection[asyncpg.Record]"
REQUESTED = ClaimRequest(queue=QueueName.HIGH, limit=10, requested=True)
LATER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def accounts(database: Database) -> AccountStore:
    return AccountStore(database, KEYS)


async def finish(store: PostgresLeaseStore, job: SyncJob) -> None:
    now = datetime.now(UTC)
    outcome = Outcome(result=RunResult.DONE, next_sync_at=now + timedelta(hours=4), attempt=1)
    record = RunRecord(
        started_at=now, duration=timedelta(), attempt=1, outcome=outcome, counts=SyncCounts()
    )
    await store.finish(job, record)


async def add_low(connection: Connection, **columns: Any) -> AccountKey:
    return await add_account(connection, sync_priority=4, next_sync_at=LATER, **columns)


@pytest.fixture
async def asked_for(
    accounts: AccountStore, store: PostgresLeaseStore, connection: Connection
) -> SyncJob:
    """The claimed job of an account that somebody asked for and that was not due."""
    await accounts.request_sync(await add_low(connection))
    (job,) = await store.claim(REQUESTED)
    return job


async def test_what_was_asked_for_is_claimed_first_asked_first_and_belongs_in_high(
    accounts: AccountStore, store: PostgresLeaseStore, connection: Connection
) -> None:
    """Neither due nor let through by its circuit: whoever asks wants to see what comes of it."""
    keys = [
        await add_low(connection, circuit_state="OPEN", circuit_failures=5, circuit_retry_at=LATER)
        for _ in range(3)
    ]
    await add_low(connection)
    for key in reversed(keys):
        assert await accounts.request_sync(key)

    jobs = await store.claim(REQUESTED)

    assert {job.key for job in jobs} == set(keys)
    assert all(job.requested and job.queue is QueueName.HIGH for job in jobs)
    assert await store.claim(REQUESTED) == []


async def test_a_request_is_answered_when_its_run_begins(
    store: PostgresLeaseStore, asked_for: SyncJob
) -> None:
    await store.admit(asked_for)
    await finish(store, asked_for)

    assert await store.claim(REQUESTED) == []


async def test_who_asks_during_a_run_gets_another_one_and_the_daemons_hear_of_it(
    accounts: AccountStore,
    store: PostgresLeaseStore,
    connection: Connection,
    asked_for: SyncJob,
) -> None:
    """The run may have looked at the inbox already."""
    await store.admit(asked_for)
    await accounts.request_sync(asked_for.key)
    heard: list[str] = []
    await connection.add_listener("emailsync_wake", lambda *told: heard.append(told[3]))

    await finish(store, asked_for)

    await connection.execute("SELECT 1")
    assert len(heard) == 1
    assert [job.key for job in await store.claim(REQUESTED)] == [asked_for.key]


async def test_a_request_outlives_the_daemon_that_took_it(
    store: PostgresLeaseStore, asked_for: SyncJob
) -> None:
    await store.release([asked_for.lease])

    assert [job.key for job in await store.claim(REQUESTED)] == [asked_for.key]


@pytest.mark.parametrize(
    "columns", [{"status": "paused"}, {"status": "needs_reconnect"}, {"is_active": False}]
)
async def test_what_is_not_synced_cannot_be_asked_for(
    accounts: AccountStore,
    store: PostgresLeaseStore,
    connection: Connection,
    columns: dict[str, Any],
) -> None:
    key = await add_low(connection, **columns)

    assert not await accounts.request_sync(key)

    assert await store.claim(REQUESTED) == []
