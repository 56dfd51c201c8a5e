"""What is removed is gone at once for everybody, and row by row soon after."""

from uuid import uuid4

import asyncpg
import pytest

from emailsync.domain.access import Grant, Scope
from emailsync.domain.accounts import AccountId, AccountKey, ProviderType, TenantId
from emailsync.domain.errors import LeaseLost, Misconfigured
from emailsync.store import erasure as erasure_module
from emailsync.store.accounts import AccountStore, NewAccount
from emailsync.store.erasure import Erasure
from emailsync.store.tokens import TokenStore
from store_rig import KEYS, StoreRig, add_account

TENANT_TABLES = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public'
    AND (column_name = 'tenant_id' OR (table_name = 'tenants' AND column_name = 'id'))
ORDER BY table_name
"""
NOBODY = AccountKey(TenantId("nobody"), AccountId(uuid4()))


@pytest.fixture
def erasure(rig: StoreRig) -> Erasure:
    return Erasure(rig.database)


async def rows_of(connection: "asyncpg.Connection[asyncpg.Record]", tenant: str) -> dict[str, int]:
    """Return how many rows of every table are the tenant's, where there are any."""
    found = {}
    for table, column in await connection.fetch(TENANT_TABLES):
        query = f"SELECT count(*) FROM {table} WHERE {column} = $1"  # noqa: S608 - names of the schema
        found[table] = await connection.fetchval(query, tenant)
    return {table: count for table, count in found.items() if count}


async def fill(rig: StoreRig, messages: int) -> None:
    await rig.apply([rig.message(uid) for uid in range(1, messages + 1)])
    await rig.apply([rig.message(messages + 1, size_bytes=-1)])  # goes into quarantine
    await rig.connection.execute(
        "INSERT INTO sync_runs (tenant_id, provider_id, queue, instance_id, attempt, result,"
        " started_at, duration_ms, created, updated, deleted, quarantined, unexplained,"
        " fetched_bytes) SELECT 'acme', $1, 'low', 'one', 1, 'done', now(), 1, 0, 0, 0, 0, 0, 0"
        " FROM generate_series(1, 5)",
        rig.lease.key.account_id,
    )


async def test_an_erased_account_leaves_its_tenant_and_the_feed_that_tells_of_it(
    erasure: Erasure, rig: StoreRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches smaller than the mailbox, as a large one is erased."""
    monkeypatch.setattr(erasure_module, "ROWS_AT_ONCE", 3)
    await fill(rig, 10)
    ids = set((await rig.ids()).values())

    assert await erasure.mark_account(rig.lease.key)
    await erasure.erase_account(rig.lease.key)

    assert (await rows_of(rig.connection, "acme")).keys() == {"tenants", "changes"}
    assert {message for message, kind in await rig.feed() if kind == "deleted"} == ids


async def test_a_marked_account_is_gone_at_once_for_the_operator_and_for_its_sync(
    erasure: Erasure, rig: StoreRig
) -> None:
    accounts = AccountStore(rig.database, KEYS)

    assert await erasure.mark_account(rig.lease.key)

    assert await accounts.list_all() == []
    assert not await accounts.resume(rig.lease.key)
    assert not await erasure.mark_account(rig.lease.key)
    with pytest.raises(LeaseLost):
        await rig.apply([rig.message(1)])
    assert await rig.rows("SELECT credentials FROM provider_configs") == [{"credentials": None}]


async def test_a_mailbox_may_be_added_anew_while_what_was_stored_of_it_is_still_erased(
    erasure: Erasure, rig: StoreRig
) -> None:
    accounts = AccountStore(rig.database, KEYS)
    new = NewAccount(
        tenant_id=TenantId("acme"),
        provider_type=ProviderType.IMAP,
        email_address="ann@example.test",
        settings={"host": "imap.example.test", "port": 993},
        credentials={},
    )
    first = await accounts.add(new)
    await erasure.mark_account(first)

    second = await accounts.add(new)

    await erasure.erase_account(first)
    assert {account.key for account in await accounts.find("ann@example.test")} == {second}


async def test_an_erased_tenant_leaves_no_row_in_any_table_and_others_keep_theirs(
    erasure: Erasure, rig: StoreRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure_module, "ROWS_AT_ONCE", 4)
    await add_account(rig.connection, "other")
    await TokenStore(rig.database).add(
        "acme's", bytes(32), Grant(Scope.TENANT, TenantId("acme")), expires_at=None
    )
    await fill(rig, 10)
    before = await rows_of(rig.connection, "acme")

    assert await erasure.mark_tenant(TenantId("acme"))
    await erasure.erase_tenant(TenantId("acme"))

    assert before.keys() >= {"messages", "changes", "quarantine", "sync_runs", "api_tokens"}
    assert await rows_of(rig.connection, "acme") == {}
    assert (await rows_of(rig.connection, "other")).keys() == {"tenants", "provider_configs"}


async def test_nothing_is_added_to_a_tenant_that_is_being_erased_and_its_token_opens_nothing(
    erasure: Erasure, rig: StoreRig
) -> None:
    acme = TenantId("acme")
    tokens = TokenStore(rig.database)
    await tokens.add("acme's", bytes(32), Grant(Scope.TENANT, acme), expires_at=None)

    assert await erasure.mark_tenant(acme)

    assert await tokens.find(bytes(32)) is None
    assert not await tokens.hashes()
    assert not await erasure.mark_tenant(acme)
    with pytest.raises(Misconfigured, match="is being erased"):
        await tokens.add("another", bytes([1]) * 32, Grant(Scope.TENANT, acme), expires_at=None)


async def test_an_interrupted_erasure_goes_on_where_it_was(erasure: Erasure, rig: StoreRig) -> None:
    """As after a daemon that was killed between the mark and the last row."""
    other = await add_account(rig.connection, "other")
    await fill(rig, 3)
    await erasure.mark_account(other)
    await erasure.mark_tenant(TenantId("acme"))

    assert await erasure.resume() == 3
    assert await erasure.resume() == 0

    assert await rows_of(rig.connection, "acme") == {}
    assert await rows_of(rig.connection, "other") == {"tenants": 1}


async def test_what_is_not_there_cannot_be_marked(erasure: Erasure) -> None:
    assert not await erasure.mark_account(NOBODY)
    assert not await erasure.mark_tenant(TenantId("nobody"))
