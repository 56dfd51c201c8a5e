"""When accounts are due: by the priority of their tenant, by circuits and leases."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from emailsync.domain.priority import QueueName, priority_of
from emailsync.ports import ClaimRequest
from emailsync.store.leases import SQL, PostgresLeaseStore
from store_rig import add_account

STARTED = datetime(2026, 1, 1, tzinfo=UTC)
ANY = ClaimRequest(queue=QueueName.NORMAL, limit=10)
ENDPOINT = "imap.example.test:993"

Connection = "asyncpg.Connection[asyncpg.Record]"


async def test_priorities_in_sql_are_those_of_the_domain(connection: Connection) -> None:
    plans = [None, "premium", "Premium", "free", ""]
    hour, day, tick = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
    ages = [None, -day, timedelta(), hour - tick, hour, hour + tick, day - tick, day, day + tick]
    async with connection.transaction():
        now = await connection.fetchval("SELECT now()")
        expected = {}
        for number, (plan, age) in enumerate(product(plans, ages)):
            login = None if age is None else now - age
            key = await add_account(connection, f"t{number}")
            await connection.execute(
                "UPDATE tenants SET plan = $2, last_login_at = $3 WHERE id = $1",
                *(key.tenant_id, plan, login),
            )
            expected[key.account_id] = priority_of(plan, login, now)

        await connection.execute(SQL["reprioritise"], *_intervals({}), None)

        rows = await connection.fetch("SELECT id, sync_priority FROM provider_configs")
    assert {row["id"]: row["sync_priority"] for row in rows} == expected


def _intervals(seconds: dict[int, float]) -> tuple[list[str], list[int], list[float]]:
    return ["imap"] * 4, [1, 2, 3, 4], [seconds.get(priority, 60.0) for priority in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("columns", "wait"),
    [
        ({}, 600 - 300),  # imap, critical: ten minutes after the last sync
        ({"attempt": 2}, 3_000),
        ({"last_error_at": STARTED}, 3_000),
        ({"last_synced_at": None}, 3_000),
        ({"next_sync_at": timedelta(seconds=60)}, 60),
        ({"sync_priority": 1}, 3_000),
    ],
    ids=["earlier", "retrying", "throttled", "never synced", "never back", "as it was"],
)
async def test_a_tenant_that_becomes_urgent_is_pulled_forward(
    store: PostgresLeaseStore, connection: Connection, columns: dict[str, Any], wait: float
) -> None:
    now = await connection.fetchval("SELECT now()")
    values = {
        "last_synced_at": now - timedelta(seconds=300),
        "next_sync_at": timedelta(seconds=3_000),
    } | columns
    values["next_sync_at"] += now
    await add_account(connection, **values)
    await connection.execute("UPDATE tenants SET plan = 'premium'")

    changed = await store.reprioritise()

    row = await connection.fetchrow("SELECT * FROM provider_configs")
    assert changed == (0 if "sync_priority" in columns else 1)
    assert row["sync_priority"] == 1
    assert row["next_sync_at"] == now + timedelta(seconds=wait)
    assert await store.reprioritise() == 0


async def test_next_due_is_when_something_can_be_claimed(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    at = {minutes: datetime.now(UTC) + timedelta(minutes=minutes) for minutes in (1, 2, 3, 4, 5)}
    assert await store.next_due(QueueName.NORMAL) is None

    await add_account(connection, next_sync_at=at[5])
    assert await store.next_due(QueueName.NORMAL) == at[5]
    await add_account(
        connection, next_sync_at=STARTED, circuit_state="OPEN", circuit_retry_at=at[4]
    )
    assert await store.next_due(QueueName.NORMAL) == at[4]
    await add_account(connection, next_sync_at=STARTED, lease_owner="x", lease_until=at[3])
    assert await store.next_due(QueueName.NORMAL) == at[3]
    await add_account(connection, next_sync_at=STARTED, endpoint="down:993")
    await connection.execute(
        "INSERT INTO circuits (provider_type, endpoint, state, retry_at)"
        " VALUES ('imap', 'down:993', 'OPEN', $1)",
        at[2],
    )
    assert await store.next_due(QueueName.NORMAL) == at[2]
    await add_account(connection, next_sync_at=at[1], status="paused")
    await add_account(connection, next_sync_at=at[1], sync_priority=4)
    assert await store.next_due(QueueName.NORMAL) == at[2]
    assert await store.next_due(QueueName.LOW) == at[1]


async def test_daemons_count_each_other_while_they_are_alive(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    ttl = timedelta(seconds=45)

    alone = await store.heartbeat("one", ttl=ttl)
    together = await store.heartbeat("two", ttl=ttl)
    await connection.execute("UPDATE instances SET seen_at = seen_at - $1::interval", ttl)
    survivor = await store.heartbeat("two", ttl=ttl)

    assert (alone, together, survivor) == (1, 2, 1)
