"""Accounts as the operator handles them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from emailsync.crypto import KeyRing, Secret
from emailsync.domain.accounts import AccountId, AccountKey, AccountStatus, ProviderType, TenantId
from emailsync.domain.circuit import Circuit, CircuitState
from emailsync.domain.errors import LeaseLost, Misconfigured, OperatorMustAct
from emailsync.domain.pages import Placement, Unfetchable
from emailsync.domain.priority import Priority, QueueName
from emailsync.domain.runs import Outcome, RunRecord, RunResult, SyncCounts
from emailsync.ports import ClaimRequest
from emailsync.store.accounts import AccountStore, NewAccount, endpoint_of
from emailsync.store.database import Database
from emailsync.store.leases import PostgresLeaseStore
from emailsync.store.mail import PostgresMailStore
from emailsync.store.rekeying import Rekeyed, rekey
from store_rig import KEYS, StoreRig

Connection = "asyncpg.Connection[asyncpg.Record]"
NORMAL = ClaimRequest(queue=QueueName.NORMAL, limit=10)
LOW = ClaimRequest(queue=QueueName.LOW, limit=10)
PASSWORD = {"password": Secret("s3cret \U0001f511")}
NOBODY = AccountKey(TenantId("nobody"), AccountId(uuid4()))


def new_account(**fields: Any) -> NewAccount:
    values: dict[str, Any] = {
        "tenant_id": TenantId("acme"),
        "provider_type": ProviderType.IMAP,
        "email_address": "Ann@Example.test",
        "settings": {"host": "IMAP.Example.test", "port": 993, "username": "ann"},
        "credentials": PASSWORD,
    }
    return NewAccount(**values | fields)


@pytest.fixture
def accounts(database: Database) -> AccountStore:
    return AccountStore(database, KEYS)


async def test_a_new_account_brings_its_tenant_and_is_due_at_once(
    accounts: AccountStore, store: PostgresLeaseStore, connection: Connection
) -> None:
    heard = []
    await connection.add_listener("emailsync_wake", lambda *args: heard.append(args))

    key = await accounts.add(new_account())

    (job,) = await store.claim(LOW)
    assert (job.key, job.endpoint) == (key, "imap.example.test:993")
    await connection.execute("SELECT 1")
    assert len(heard) == 1


async def test_the_priority_of_a_new_account_is_its_tenants(
    accounts: AccountStore, connection: Connection
) -> None:
    await connection.execute("INSERT INTO tenants (id, plan) VALUES ('acme', 'premium')")

    await accounts.add(new_account())

    (account,) = await accounts.list_all()
    assert account.priority is Priority.CRITICAL


async def test_a_job_finds_the_credentials_that_were_added(
    accounts: AccountStore, store: PostgresLeaseStore, rig: StoreRig
) -> None:
    await accounts.add(new_account())
    (job,) = await store.claim(LOW)

    account = await rig.store.load_account(job)

    assert account.credentials == PASSWORD
    assert account.settings["port"] == 993
    assert account.email_address == "Ann@Example.test"
    assert not account.careful


async def test_credentials_are_stored_encrypted_and_bound_to_their_row(
    accounts: AccountStore, store: PostgresLeaseStore, rig: StoreRig
) -> None:
    await accounts.add(new_account())
    await accounts.add(new_account(tenant_id=TenantId("other")))
    stored = await rig.rows(
        "SELECT credentials FROM provider_configs WHERE credentials IS NOT NULL"
    )

    await rig.connection.execute(
        "UPDATE provider_configs AS mine SET credentials = theirs.credentials"
        " FROM provider_configs AS theirs"
        " WHERE mine.tenant_id = 'acme' AND theirs.tenant_id = 'other'"
    )

    assert all(b"s3cret" not in row["credentials"] for row in stored)
    job = next(job for job in await store.claim(LOW) if job.key.tenant_id == "acme")
    with pytest.raises(Misconfigured):
        await rig.store.load_account(job)


async def test_credentials_under_an_unknown_key_are_the_operators_matter_and_park_nobody(
    accounts: AccountStore, store: PostgresLeaseStore, rig: StoreRig
) -> None:
    await accounts.add(new_account())
    (job,) = await store.claim(LOW)
    elsewhere = PostgresMailStore(rig.database, KeyRing({"new": bytes(32)}), rig.settings)

    with pytest.raises(OperatorMustAct, match="test"):
        await elsewhere.load_account(job)


@pytest.mark.parametrize(
    "fields",
    [{}, {"tenant_id": ""}, {"tenant_id": "x" * 201}, {"email_address": ""}],
    ids=["twice", "no tenant", "long tenant", "no address"],
)
async def test_an_account_that_cannot_be_is_refused_with_a_reason(
    accounts: AccountStore, fields: dict[str, Any]
) -> None:
    await accounts.add(new_account())

    with pytest.raises(Misconfigured):
        await accounts.add(new_account(**fields))


async def test_accounts_are_found_by_address_and_by_id(accounts: AccountStore) -> None:
    first = await accounts.add(new_account())
    second = await accounts.add(new_account(tenant_id=TenantId("other")))

    by_address = await accounts.find("ann@example.TEST")
    by_id = await accounts.find(str(second.account_id))

    assert {account.key for account in by_address} == {first, second}
    assert [account.key for account in by_id] == [second]
    assert await accounts.find("nobody") == await accounts.find(str(uuid4())) == []
    assert [account.key for account in await accounts.list_all(TenantId("acme"))] == [first]


async def test_a_paused_account_stops_at_once_until_it_is_resumed(
    accounts: AccountStore, store: PostgresLeaseStore, rig: StoreRig
) -> None:
    key = await accounts.add(new_account())
    (job,) = await store.claim(LOW)

    assert await accounts.pause(key)

    assert await store.extend([job.lease]) == [job.lease]
    with pytest.raises(LeaseLost):
        await rig.store.load_account(job)
    assert await store.claim(LOW) == []
    assert await accounts.resume(key)
    assert [job.key for job in await store.claim(LOW)] == [key]


async def test_resuming_forgets_what_stopped_the_account(
    accounts: AccountStore, connection: Connection
) -> None:
    key = await accounts.add(new_account())
    await connection.execute(
        "UPDATE provider_configs SET status = 'needs_reconnect', attempt = 3, auth_refusals = 2,"
        " last_error = 'x', circuit_state = 'OPEN', circuit_retry_at = 'infinity',"
        " next_sync_at = 'infinity'"
    )

    await accounts.resume(key)

    (account,) = await accounts.list_all()
    assert account.status is AccountStatus.ACTIVE
    assert (account.attempt, account.last_error, account.circuit) == (1, None, Circuit())
    assert account.next_sync_at < datetime.now(UTC) + timedelta(minutes=1)


async def test_a_run_with_the_old_credentials_cannot_park_the_account(
    accounts: AccountStore, store: PostgresLeaseStore
) -> None:
    key = await accounts.add(new_account())
    (job,) = await store.claim(LOW)
    await accounts.set_credentials(key, {"password": Secret("new")})
    refused = RunRecord(
        started_at=datetime.now(UTC),
        duration=timedelta(seconds=1),
        attempt=1,
        outcome=Outcome(result=RunResult.NEEDS_RECONNECT, next_sync_at=None, attempt=1),
        counts=SyncCounts(),
    )

    with pytest.raises(LeaseLost):
        await store.finish(job, refused)

    (account,) = await accounts.list_all()
    assert account.status is AccountStatus.ACTIVE
    assert [job.key for job in await store.claim(LOW)] == [key]


@pytest.mark.parametrize(
    "change",
    [AccountStore.pause, AccountStore.resume, AccountStore.request_sync],
    ids=lambda change: change.__name__,
)
async def test_changing_what_is_not_there_says_so(
    accounts: AccountStore, change: Callable[..., Any]
) -> None:
    assert not await change(accounts, NOBODY)


async def test_an_explanation_holds_what_the_database_knows(
    accounts: AccountStore, store: PostgresLeaseStore, rig: StoreRig
) -> None:
    key = rig.lease.key
    (job,) = await store.claim(NORMAL)
    rig.lease = job.lease
    lost = Unfetchable(remote_id="x", placement=Placement(rig.inbox, 3), reason="NO")
    await rig.apply([rig.message(1)], unfetchable=[lost])
    await rig.connection.execute("UPDATE folders SET stored_count = 2, remote_count = 5")
    await rig.connection.execute(
        "INSERT INTO circuits (provider_type, endpoint, state, failures, retry_at)"
        " VALUES ('imap', $1, 'OPEN', 5, now())",
        job.endpoint,
    )

    found = await accounts.explain(key)

    assert found is not None
    assert (found.account.key, found.account.lease_owner) == (key, "one")
    assert found.account.endpoint_circuit.state is CircuitState.OPEN
    assert (found.folders, found.differing_folders, found.backfilling_folders) == (1, 1, 0)
    assert (found.stored_messages, found.remote_messages, found.quarantined) == (2, 5, 1)
    assert found.next_comparison_at == await rig.connection.fetchval(
        "SELECT comparison_due_at FROM folders"
    )
    assert found.runs == []
    assert await accounts.explain(NOBODY) is None


async def test_runs_are_told_latest_first(
    accounts: AccountStore, store: PostgresLeaseStore, rig: StoreRig
) -> None:
    for result in (RunResult.SLICED, RunResult.DONE):
        (job,) = await store.claim(NORMAL)
        now = datetime.now(UTC)
        outcome = Outcome(result=result, next_sync_at=now, attempt=1)
        counts = SyncCounts(created=3)
        await store.finish(
            job,
            RunRecord(
                started_at=now,
                duration=timedelta(milliseconds=1_500),
                attempt=1,
                outcome=outcome,
                counts=counts,
            ),
        )
        await rig.connection.execute("UPDATE provider_configs SET next_sync_at = now()")

    runs = await accounts.runs(rig.lease.key)

    assert [run.result for run in runs] == [RunResult.DONE, RunResult.SLICED]
    assert (runs[0].duration, runs[0].created) == (timedelta(milliseconds=1_500), 3)


async def test_rekeying_moves_every_credential_to_the_newest_key(
    database: Database, rig: StoreRig, store: PostgresLeaseStore
) -> None:
    old, new, lost = (bytes([number]) * 32 for number in (1, 2, 3))
    for number in range(103):
        account = new_account(tenant_id=TenantId(f"t{number}"))
        await AccountStore(database, KeyRing({"old": old})).add(account)
    unreadable = await AccountStore(database, KeyRing({"lost": lost})).add(new_account())
    keys = KeyRing({"new": new, "old": old})

    first = await rekey(database, keys)
    second = await rekey(database, keys)

    assert first == Rekeyed(103, 0, [unreadable])
    assert second == Rekeyed(0, 103, [unreadable])
    job = next(job for job in await store.claim(LOW) if job.key != unreadable)
    only_new = PostgresMailStore(database, KeyRing({"new": new}), rig.settings)
    assert (await only_new.load_account(job)).credentials == PASSWORD


@pytest.mark.parametrize(
    ("provider_type", "endpoint"),
    [
        (ProviderType.IMAP, "mail.example.test:143"),
        (ProviderType.GOOGLE, "gmail.googleapis.com"),
        (ProviderType.MICROSOFT, "graph.microsoft.com"),
    ],
)
def test_accounts_of_one_server_share_an_endpoint(
    provider_type: ProviderType, endpoint: str
) -> None:
    assert endpoint_of(provider_type, {"host": "Mail.Example.test", "port": 143}) == endpoint
