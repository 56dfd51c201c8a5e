"""Credentials that rotate: one renewal at a time over tasks and daemons, and no token lost."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TypeAlias

import anyio
import anyio.lowlevel
import asyncpg
import pytest

from emailsync.crypto import KeyRing, Secret
from emailsync.domain.accounts import AccountKey
from emailsync.domain.errors import AuthRefused, LeaseLost, OperatorMustAct
from emailsync.store.accounts import AccountStore
from emailsync.store.credential_vault import CLAIM_S, PostgresCredentialVault
from emailsync.store.database import Database, open_database
from emailsync.store.rekeying import Rekeyed, rekey
from emailsync.store.sealing import open_credentials, seal_credentials
from store_rig import KEYS, StoreRig, account_row, add_account
from waiting import until_told

Credentials = Mapping[str, Secret]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def tokens(number: int) -> dict[str, Secret]:
    return {
        "refresh_token": Secret(f"refresh {number}"),
        "access_token": Secret(f"access {number}"),
    }


class OneTimeTokens:
    """A provider whose refresh tokens serve once; a used one is refused, as if it were revoked."""

    def __init__(self) -> None:
        self.number = 0
        self.asked = 0

    def renewal(
        self, rejected: Credentials
    ) -> Callable[[Credentials], Awaitable[Credentials | None]]:
        """Return what somebody does whose access token does not serve any more."""

        async def renew(stored: Credentials) -> Credentials | None:
            return None if stored != rejected else await self.rotate(stored)

        return renew

    async def rotate(self, stored: Credentials) -> Credentials:
        self.asked += 1
        used = stored["refresh_token"]
        if used != tokens(self.number)["refresh_token"]:
            raise AuthRefused("invalid_grant")
        self.number += 1
        await anyio.lowlevel.checkpoint()  # the answer is on its way
        return tokens(self.number)


@pytest.fixture
async def key(connection: Connection) -> AccountKey:
    """An account with the tokens 0, leased by a running sync."""
    held_until = datetime(2100, 1, 1, tzinfo=UTC)
    key = await add_account(connection, lease_epoch=1, lease_owner="one", lease_until=held_until)
    sealed = seal_credentials(KEYS, key, tokens(0))
    await connection.execute("UPDATE provider_configs SET credentials = $1", sealed)
    return key


@pytest.fixture
def vault(database: Database) -> PostgresCredentialVault:
    return PostgresCredentialVault(database, KEYS)


@pytest.fixture
async def vaults(database_url: str) -> AsyncIterator[list[PostgresCredentialVault]]:
    """The vaults of two daemons."""
    async with AsyncExitStack() as stack:
        databases = [
            await stack.enter_async_context(open_database(database_url, pool_max=4))
            for _ in range(2)
        ]
        yield [PostgresCredentialVault(database, KEYS) for database in databases]


async def stored(connection: Connection, key: AccountKey, keys: KeyRing = KEYS) -> Credentials:
    row = await account_row(connection, key)
    return open_credentials(keys, key, row["credentials"])


async def test_many_tasks_of_two_daemons_renew_a_token_once(
    vaults: list[PostgresCredentialVault], key: AccountKey, connection: Connection
) -> None:
    """A second use of a rotated token is how healthy accounts come to be parked."""
    provider = OneTimeTokens()
    got: list[Credentials] = []

    async def need_new(vault: PostgresCredentialVault, rejected: Credentials) -> None:
        got.append(await vault.renew(key, provider.renewal(rejected)))

    for number in range(10):
        async with anyio.create_task_group() as group:
            for vault in vaults * 10:
                group.start_soon(need_new, vault, tokens(number))

    assert provider.asked == 10
    assert got == [tokens(number) for number in range(1, 11) for _ in range(20)]
    assert await stored(connection, key) == tokens(10)


async def test_what_serves_already_is_returned_and_not_written(
    vault: PostgresCredentialVault, key: AccountKey, connection: Connection
) -> None:
    got = await vault.renew(key, OneTimeTokens().renewal(tokens(99)))

    row = await account_row(connection, key)
    assert got == tokens(0)
    assert (row["credentials_version"], row["renewal_until"]) == (0, None)
    assert await stored(connection, key) == tokens(0)


async def test_a_renewal_is_no_change_of_the_account(
    vault: PostgresCredentialVault, key: AccountKey, connection: Connection
) -> None:
    """A renewal that wakes the scheduler or ends the sync that asked for it goes on for ever."""
    before = dict(await account_row(connection, key))
    heard: list[object] = []
    await connection.add_listener("emailsync_wake", lambda *args: heard.append(args))

    await vault.renew(key, OneTimeTokens().rotate)

    after = dict(await account_row(connection, key))
    differing = {name for name in before if before[name] != after[name]} - {"wait_s"}
    assert differing == {"credentials", "credentials_version"}
    assert heard == []


async def test_no_connection_is_held_while_the_provider_answers(
    database_url: str, key: AccountKey
) -> None:
    async with open_database(database_url, pool_max=2) as database:

        async def renewal(before: Credentials) -> Credentials:
            async with database.connection(), database.connection() as connection:
                idle = await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND state LIKE 'idle in transaction%'"
                )
            assert idle == 0
            return tokens(1)

        got = await PostgresCredentialVault(database, KEYS).renew(key, renewal)

    assert got == tokens(1)


async def test_a_dead_holder_is_waited_for_until_its_claim_runs_out(
    vault: PostgresCredentialVault, key: AccountKey, connection: Connection
) -> None:
    await connection.execute(
        "UPDATE provider_configs SET renewal_until = clock_timestamp() + interval '300 ms'"
    )
    claimed: list[float] = []

    async def renewal(before: Credentials) -> Credentials:
        claimed.append(
            await connection.fetchval(
                "SELECT extract(epoch FROM renewal_until - clock_timestamp())::float"
                " FROM provider_configs"
            )
        )
        return tokens(1)

    with anyio.fail_after(10):
        got = await vault.renew(key, renewal)

    assert got == tokens(1)
    assert CLAIM_S - 5 < claimed[0] <= CLAIM_S


async def test_a_holder_that_was_overtaken_takes_what_is_stored_instead_of_replacing_it(
    vaults: list[PostgresCredentialVault], key: AccountKey, connection: Connection
) -> None:
    """Its process stood still for longer than its claim."""
    first, second = vaults
    seen: list[Credentials] = []

    async def late(before: Credentials) -> Credentials | None:
        seen.append(before)
        if before != tokens(0):
            return None
        await connection.execute("UPDATE provider_configs SET renewal_until = clock_timestamp()")
        await second.renew(key, OneTimeTokens().rotate)
        return tokens(99)

    got = await first.renew(key, late)

    assert seen == [tokens(0), tokens(1)]
    assert got == tokens(1)
    assert await stored(connection, key) == tokens(1)


async def test_a_refusal_of_tokens_that_were_replaced_meanwhile_is_none(
    vaults: list[PostgresCredentialVault], key: AccountKey, connection: Connection
) -> None:
    first, second = vaults
    provider = OneTimeTokens()

    async def late(before: Credentials) -> Credentials | None:
        if before != tokens(0):
            return None
        await connection.execute("UPDATE provider_configs SET renewal_until = clock_timestamp()")
        await second.renew(key, provider.rotate)
        return await provider.rotate(before)

    got = await first.renew(key, late)

    assert provider.asked == 2
    assert got == tokens(1)


async def test_a_refusal_of_the_stored_tokens_reaches_the_caller_and_holds_nobody_up(
    vault: PostgresCredentialVault, key: AccountKey, connection: Connection
) -> None:
    provider = OneTimeTokens()
    provider.number = 5

    with pytest.raises(AuthRefused):
        await vault.renew(key, provider.rotate)

    assert provider.asked == 1
    assert (await account_row(connection, key))["renewal_until"] is None
    assert await stored(connection, key) == tokens(0)


async def test_credentials_that_the_owner_gives_meanwhile_win(
    vault: PostgresCredentialVault, key: AccountKey, connection: Connection, database: Database
) -> None:
    async def renewal(before: Credentials) -> Credentials | None:
        if before != tokens(0):
            return None
        await AccountStore(database, KEYS).set_credentials(key, tokens(7))
        return tokens(1)

    got = await vault.renew(key, renewal)

    assert got == tokens(7)
    assert await stored(connection, key) == tokens(7)


async def test_a_renewal_that_is_cancelled_is_stored_all_the_same(
    vault: PostgresCredentialVault, key: AccountKey, connection: Connection
) -> None:
    """The provider forgets the old token when it answers, whoever still listens."""
    with anyio.CancelScope() as job:

        async def renewal(before: Credentials) -> Credentials:
            job.cancel()
            await anyio.lowlevel.checkpoint()
            return tokens(1)

        await vault.renew(key, renewal)
        await anyio.sleep_forever()

    assert await stored(connection, key) == tokens(1)
    assert (await account_row(connection, key))["renewal_until"] is None


async def test_renewed_credentials_are_stored_once_the_database_is_back(
    vault: PostgresCredentialVault, key: AccountKey, connection: Connection
) -> None:
    """It became a standby while the provider answered."""
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    ours = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    answered = anyio.Event()

    async def renewal(before: Credentials) -> Credentials:
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await connection.execute(f"SELECT pg_terminate_backend(pid, 5000) {ours}")
        answered.set()
        return tokens(1)

    async with anyio.create_task_group() as group:
        group.start_soon(vault.renew, key, renewal)
        await answered.wait()
        await until_told(lambda: connection.fetchval(f"SELECT count(*) {ours} AND query <> ''"))
        await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    assert await stored(connection, key) == tokens(1)


async def test_a_removed_account_is_a_lost_lease(
    vault: PostgresCredentialVault, key: AccountKey, connection: Connection
) -> None:
    async def renewal(before: Credentials) -> Credentials:
        await connection.execute("DELETE FROM provider_configs")
        return tokens(1)

    with pytest.raises(LeaseLost):
        await vault.renew(key, renewal)


async def test_credentials_under_a_lost_key_are_the_operators_matter(
    database: Database, key: AccountKey, connection: Connection
) -> None:
    vault = PostgresCredentialVault(database, KeyRing({"other": bytes(32)}))

    with pytest.raises(OperatorMustAct):
        await vault.renew(key, OneTimeTokens().rotate)

    assert (await account_row(connection, key))["renewal_until"] is None


NEW_KEYS = KeyRing({"new": b"n" * 32, "test": bytes(32)})


async def test_a_renewal_is_not_lost_to_rekeying(
    database: Database, vault: PostgresCredentialVault, key: AccountKey, connection: Connection
) -> None:
    """Sealing the old token anew is no newer token."""
    provider = OneTimeTokens()

    async def renewal(before: Credentials) -> Credentials:
        renewed = await provider.rotate(before)
        assert await rekey(database, NEW_KEYS) == Rekeyed(1, 0, [])
        return renewed

    got = await vault.renew(key, renewal)

    assert got == await stored(connection, key, NEW_KEYS) == tokens(1)
    assert provider.asked == 1


async def test_rekeying_seals_anew_what_is_renewed_beside_it(
    rig: StoreRig, database_url: str
) -> None:
    """The daemon still seals under the old key, which is about to be thrown away."""
    key = rig.lease.key
    seal = "UPDATE provider_configs SET credentials = $1"
    await rig.connection.execute(seal, seal_credentials(KEYS, key, tokens(0)))
    found: list[Rekeyed] = []

    async def run() -> None:
        found.append(await rekey(rig.database, NEW_KEYS))

    async with anyio.create_task_group() as group, rig.connection.transaction():
        await rig.connection.execute(seal, seal_credentials(KEYS, key, tokens(1)))
        group.start_soon(run)
        watcher = await asyncpg.connect(database_url)
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        await until_told(lambda: watcher.fetchval(waits))
        await watcher.close()

    only_new = KeyRing({"new": b"n" * 32})
    assert found == [Rekeyed(1, 0, [])]
    assert await stored(rig.connection, key, only_new) == tokens(1)
