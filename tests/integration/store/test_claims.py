"""Who gets which account, and for how long."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from emailsync.domain.accounts import Lease
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import OVERDUE, Priority, QueueName, urgency
from emailsync.ports import ClaimRequest
from emailsync.store.leases import PostgresLeaseStore
from store_rig import account_row, add_account
from waiting import until_told

STARTED = datetime(2026, 1, 1, tzinfo=UTC)
ANY = ClaimRequest(queue=QueueName.NORMAL, limit=10)
ENDPOINT = "imap.example.test:993"

Connection = "asyncpg.Connection[asyncpg.Record]"
MakeStore = Callable[[str], PostgresLeaseStore]


async def claim_one(store: PostgresLeaseStore) -> SyncJob:
    (job,) = await store.claim(ANY)
    return job


async def test_a_claim_tells_all_that_a_job_needs(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    due_at = STARTED - timedelta(days=1)
    key = await add_account(
        connection, next_sync_at=due_at, attempt=2, auth_refusals=1, lease_epoch=41
    )
    await connection.execute("UPDATE tenants SET weight = 2.5")

    job = await claim_one(store)

    assert job == SyncJob(
        key=key,
        provider_type=job.provider_type,
        endpoint=ENDPOINT,
        priority=Priority.NORMAL,
        weight=2.5,
        epoch=42,
        attempt=2,
        crashes=0,
        auth_refusals=1,
        due_at=due_at,
        last_synced_at=None,
    )


@pytest.mark.parametrize(
    "columns",
    [
        {"is_active": False},
        {"status": "paused"},
        {"status": "needs_reconnect"},
        {"status": "error"},
        {"next_sync_at": datetime(9999, 1, 1, tzinfo=UTC)},
        {"lease_owner": "two", "lease_until": datetime(9999, 1, 1, tzinfo=UTC)},
        {"circuit_state": "OPEN", "circuit_retry_at": datetime(9999, 1, 1, tzinfo=UTC)},
        {"sync_priority": 2},
        {"sync_priority": 4},
    ],
    ids=",".join,
)
async def test_what_is_not_due_here_is_not_claimed(
    store: PostgresLeaseStore, connection: Connection, columns: dict[str, Any]
) -> None:
    await add_account(connection, **columns)

    assert await store.claim(ANY) == []


async def test_an_account_whose_circuit_has_waited_is_let_through_as_a_probe(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    await add_account(connection, circuit_state="OPEN", circuit_retry_at=STARTED)

    job = await claim_one(store)

    assert (await account_row(connection, job.key))["circuit_state"] == "HALF_OPEN"


async def test_an_account_is_leased_once(
    store: PostgresLeaseStore, store_of: MakeStore, connection: Connection
) -> None:
    await add_account(connection)
    await claim_one(store)

    assert await store_of("two").claim(ANY) == []


async def test_a_holder_that_vanished_is_counted_and_one_that_released_is_not(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    await add_account(connection)
    first = await claim_one(store)
    await connection.execute("UPDATE provider_configs SET lease_until = now()")
    second = await claim_one(store)
    await store.release([first.lease, second.lease])

    third = await claim_one(store)

    assert [job.crashes for job in (first, second, third)] == [0, 1, 1]
    assert [job.epoch for job in (first, second, third)] == [1, 2, 3]


async def test_tenants_take_turns_by_their_weight(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    """`big` has waited longest with ten accounts; `heavy` has twice the weight of the others."""
    for tenant, accounts in (("big", 10), ("heavy", 10), ("small", 1)):
        for number in range(accounts):
            due_at = STARTED + timedelta(seconds=number + 100 * (tenant != "big"))
            await add_account(connection, tenant, next_sync_at=due_at)
    await connection.execute("UPDATE tenants SET weight = 2 WHERE id = 'heavy'")

    first = await store.claim(replace(ANY, limit=5))
    second = await store.claim(replace(ANY, limit=3))

    assert [job.key.tenant_id for job in first] == ["heavy", "big", "small", "heavy", "heavy"]
    assert [job.key.tenant_id for job in second] == ["big", "heavy", "heavy"]


async def test_the_more_urgent_goes_first_within_a_queue(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    now: datetime = await connection.fetchval("SELECT now()")
    await add_account(connection, "a", sync_priority=2, next_sync_at=now - timedelta(minutes=1))
    await add_account(connection, "b", sync_priority=1, next_sync_at=now)

    jobs = await store.claim(ClaimRequest(queue=QueueName.HIGH, limit=9))

    assert [job.priority for job in jobs] == [Priority.CRITICAL, Priority.HIGH]


@pytest.mark.parametrize("overdue", [OVERDUE - timedelta(minutes=1), OVERDUE])
async def test_who_is_overdue_for_long_goes_with_the_most_urgent(
    store: PostgresLeaseStore, connection: Connection, overdue: timedelta
) -> None:
    """Fresh critical accounts come without end; by strict priority nobody else had a turn."""
    now: datetime = await connection.fetchval("SELECT now()")
    waiting = await add_account(
        connection, tenant="waiting", sync_priority=Priority.HIGH, next_sync_at=now - overdue
    )
    await add_account(
        connection,
        tenant="premium",
        sync_priority=Priority.CRITICAL,
        next_sync_at=now - timedelta(seconds=1),
    )

    (job,) = await store.claim(replace(ANY, queue=QueueName.HIGH, limit=1))

    expected = urgency(Priority.HIGH, overdue)
    assert (job.key == waiting) == (expected is Priority.CRITICAL)


async def test_named_accounts_are_claimed_due_or_not(
    store: PostgresLeaseStore, store_of: MakeStore, connection: Connection
) -> None:
    later = datetime(9999, 1, 1, tzinfo=UTC)
    key = await add_account(
        connection, next_sync_at=later, circuit_state="OPEN", circuit_retry_at=later
    )
    paused = await add_account(connection, status="paused")
    await add_account(connection)
    request = replace(ANY, only=[key, paused])

    claimed = await store.claim(request)

    assert [job.key for job in claimed] == [key]
    assert claimed[0].due_at < later
    assert await store_of("two").claim(request) == []
    assert await store.claim(replace(ANY, only=[])) == []


async def test_a_lost_lease_is_reported_and_the_others_are_prolonged(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    for _ in range(2):
        await add_account(connection)
    lost, kept = await store.claim(ANY)
    await connection.execute("UPDATE provider_configs SET lease_until = now()")
    await connection.execute(
        "UPDATE provider_configs SET lease_epoch = 9 WHERE id = $1", lost.key.account_id
    )

    assert await store.extend([lost.lease, kept.lease]) == [lost.lease]

    row = await account_row(connection, kept.key)
    assert row["lease_until"] > datetime.now(UTC) + timedelta(seconds=30)
    assert (await account_row(connection, lost.key))["lease_until"] < row["lease_until"]


async def test_a_lease_under_which_a_page_is_written_is_prolonged_after_the_others(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    """Page after page locks the row in a first sync; skipped, the lease would run out."""
    for _ in range(2):
        await add_account(connection)
    writing, idle = await store.claim(ANY)
    await connection.execute("UPDATE provider_configs SET lease_until = now()")
    lost: list[Lease] = []

    async def extend() -> None:
        lost.extend(await store.extend([writing.lease, idle.lease]))

    async def is_prolonged() -> bool:
        row = await account_row(connection, idle.key)
        return bool(row["lease_until"] > datetime.now(UTC))

    async with anyio.create_task_group() as group, connection.transaction():
        await connection.execute(
            "SELECT FROM provider_configs WHERE id = $1 FOR NO KEY UPDATE",
            writing.key.account_id,
        )
        group.start_soon(extend)
        await until_told(is_prolonged)

    assert lost == []
    for job in (writing, idle):
        assert (await account_row(connection, job.key))["lease_until"] > datetime.now(UTC)


async def test_a_page_that_takes_long_to_write_is_not_taken_for_a_lost_lease(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    await add_account(connection)
    job = await claim_one(store)

    async with connection.transaction():
        await connection.execute("SELECT FROM provider_configs FOR NO KEY UPDATE")

        assert await store.extend([job.lease]) == []


async def test_a_tenant_comes_to_hold_no_more_than_its_share(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    for _ in range(5):
        await add_account(connection, "big")
    await add_account(connection, "small")
    request = replace(ANY, tenant_share=3)

    first, second = await store.claim(replace(request, limit=3)), await store.claim(request)

    assert Counter(job.key.tenant_id for job in first) == {"big": 2, "small": 1}
    assert [job.key.tenant_id for job in second] == ["big"]


async def test_a_released_account_is_as_it_was(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    await add_account(connection, next_sync_at=STARTED, attempt=3)
    job = await claim_one(store)

    await store.release([job.lease])

    row = await account_row(connection, job.key)
    assert (row["next_sync_at"], row["attempt"], row["lease_owner"]) == (STARTED, 3, None)


async def test_a_daemon_that_resigned_is_not_counted(
    store: PostgresLeaseStore, store_of: MakeStore, connection: Connection
) -> None:
    ttl = timedelta(minutes=1)
    await store_of("two").heartbeat("two", ttl=ttl)
    together = await store.heartbeat("one", ttl=ttl)

    await store_of("two").resign("two")
    await store_of("two").resign("two")

    assert together == 2
    assert await store.heartbeat("one", ttl=ttl) == 1
    assert [row["id"] for row in await connection.fetch("SELECT id FROM instances")] == ["one"]
