"""What the API asks for is read along the indexes that were made for it, page by page."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from emailsync.config import Settings
from emailsync.store.database import Database
from emailsync.store.intervals import situation_values
from emailsync.store.mail_reader import TOP
from emailsync.store.monitor import FAILED, SPAN_S, SPANS
from emailsync.store.queries import load_queries
from plans import MAIL, scans
from store_rig import StoreRig, add_account

FEED = load_queries("feed")
READING = load_queries("reading")
ERASURE = load_queries("erasure")
ACCOUNTS = load_queries("accounts", "situations")
MONITOR = load_queries("monitor", "situations")
LEASES = load_queries("leases")
CHANGES = """
INSERT INTO changes (tenant_id, provider_id, message_id, kind, xact)
SELECT 'tenant ' || number % 50, gen_random_uuid(), number, 'created', (number / 10)::text::xid8
FROM generate_series(1, 20000) AS number
"""
TENANTS = (
    "INSERT INTO tenants (id) SELECT 'tenant ' || number FROM generate_series(0, 49) AS number"
)
RUNS = """
INSERT INTO sync_runs (tenant_id, provider_id, queue, instance_id, attempt, result, started_at,
    duration_ms, created, updated, deleted, quarantined, unexplained, fetched_bytes)
SELECT tenant_id, id, 'low', 'one', 1, 'done', now(), 1, 0, 0, 0, 0, 0, 0
FROM provider_configs, generate_series(1, 250)
"""
FLOWS = """
INSERT INTO connect_flows (tenant_id, id, state_sha256, sealed, expires_at)
SELECT 'tenant ' || number % 50, gen_random_uuid(), sha256(number::text::bytea), '',
    now() + make_interval(secs => number)
FROM generate_series(1, 5000) AS number
"""
FEED_PLACE = ["500", 5, 100]
LIST_PLACE = ["acme", TOP.listed_at, TOP.message_id, 50, None]


@pytest.fixture
async def much(rig: StoreRig) -> StoreRig:
    """20,000 messages and changes, and 5,000 runs, of 20 accounts."""
    for _ in range(19):
        await add_account(rig.connection)
    await rig.connection.execute(MAIL, 1_000)
    await rig.connection.execute(TENANTS)
    await rig.connection.execute(CHANGES)
    await rig.connection.execute(RUNS)
    await rig.connection.execute("ANALYZE")
    return rig


async def condition_of(
    database: Database, statement: str, values: list[Any], *, table: str, index: str
) -> str:
    """Return the condition by which the index of a table is read, the only one that is."""
    found = await scans(database, statement, values)
    ((used, condition),) = set(found[table])
    assert used == index
    return condition


@pytest.mark.parametrize(
    ("name", "values", "index"),
    [
        ("changes", FEED_PLACE, "changes_feed_idx"),
        ("tenant_changes", [*FEED_PLACE, "tenant 7"], "changes_pkey"),
    ],
)
async def test_the_feed_is_read_from_where_its_reader_stands(
    much: StoreRig, name: str, values: list[Any], index: str
) -> None:
    condition = await condition_of(much.database, FEED[name], values, table="changes", index=index)

    assert "ROW(xact, seq) > " in condition


async def test_messages_are_listed_along_their_time(much: StoreRig) -> None:
    account = much.lease.key.account_id

    of_tenant = await condition_of(
        much.database,
        READING["messages"],
        LIST_PLACE,
        table="messages",
        index="messages_received_idx",
    )
    of_account = await condition_of(
        much.database,
        READING["account_messages"],
        [*LIST_PLACE, account],
        table="messages",
        index="messages_provider_idx",
    )

    assert "COALESCE(received_at, created_at)" in of_tenant
    assert "provider_id" in of_account


async def test_an_account_is_erased_along_its_own_messages(much: StoreRig) -> None:
    key = much.lease.key
    values = [key.tenant_id, key.account_id, 1_000]

    found = await scans(much.database, ERASURE["erase_messages"], values)

    assert {used for used, _ in found["messages"]} == {"messages_provider_idx", "Tid Scan"}


@pytest.mark.parametrize(
    ("name", "values"),
    [("pace", [None, SPANS, SPAN_S, FAILED]), ("runs", [None, 12, 60, None])],
)
async def test_what_ran_lately_is_read_by_when_it_began(
    much: StoreRig, name: str, values: list[Any]
) -> None:
    condition = await condition_of(
        much.database,
        MONITOR[name],
        values,
        table="sync_runs",
        index="sync_runs_started_idx",
    )

    assert "started_at > " in condition


async def test_runs_and_accounts_are_listed_from_where_the_page_before_ended(
    much: StoreRig,
) -> None:
    key = much.lease.key

    runs = await condition_of(
        much.database,
        ACCOUNTS["runs"],
        [key.tenant_id, key.account_id, 50, 1_000],
        table="sync_runs",
        index="sync_runs_provider_idx",
    )
    accounts = await condition_of(
        much.database,
        ACCOUNTS["accounts"],
        [*situation_values(Settings()), "a", UUID(int=0), 50, *[None] * 7],
        table="provider_configs",
        index="provider_configs_pkey",
    )

    assert "id < " in runs
    assert "ROW(tenant_id, id) > " in accounts


async def test_what_was_asked_for_is_found_without_looking_at_the_rest(much: StoreRig) -> None:
    found = await scans(much.database, LEASES["claim_requested"], [50, "one", 60.0])

    assert "provider_configs_requested_idx" in {used for used, _ in found["provider_configs"]}


@pytest.mark.parametrize(
    ("query", "name", "values", "index"),
    [
        ("connect_flows", "take", [b"\x07" * 32], "connect_flows_state_sha256_key"),
        (
            *("connect_flows", "begin"),
            ["acme", UUID(int=7), b"\x07" * 32, b"\x08" * 32, b"", 600.0, 20],
            "connect_flows_pkey",
        ),
        (
            *("retention", "remove_connect_flows"),
            [datetime(2000, 1, 1, tzinfo=UTC), 1_000],
            "connect_flows_expires_idx",
        ),
    ],
)
async def test_a_flow_in_a_browser_is_found_by_its_index(
    rig: StoreRig, query: str, name: str, values: list[Any], index: str
) -> None:
    await rig.connection.execute(TENANTS)
    await rig.connection.execute(FLOWS)
    await rig.connection.execute("ANALYZE")

    found = await scans(rig.database, load_queries(query)[name], values)

    assert index in {used for used, _ in found["connect_flows"]}
    assert "Seq Scan" not in {used for used, _ in found["connect_flows"]}
