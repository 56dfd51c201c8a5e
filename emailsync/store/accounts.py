"""Accounts as the operator handles them: added, looked at, paused, resumed, removed, explained.

Credentials come in as secrets; they are read back for a login that is tried, and never shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import orjson
from asyncpg import CheckViolationError, Record, UniqueViolationError

from emailsync.config import Settings
from emailsync.crypto import KeyRing, Secret
from emailsync.domain.accounts import AccountId, AccountKey, AccountStatus, ProviderType, TenantId
from emailsync.domain.circuit import Circuit, CircuitState
from emailsync.domain.errors import Misconfigured
from emailsync.domain.freshness import Activity, Situation
from emailsync.domain.priority import Priority, priority_of
from emailsync.domain.runs import RunResult
from emailsync.ports import Account
from emailsync.store.database import Connection, Database
from emailsync.store.intervals import situation_values
from emailsync.store.queries import load_queries
from emailsync.store.sealing import open_credentials, seal_credentials
from emailsync.store.tenants import make_tenant
from emailsync.store.text import pg_json, pg_text

SQL: Final = load_queries("accounts", "situations")
MAX_ID: Final = 2**63 - 1
FIRST: Final = AccountKey(TenantId(""), AccountId(UUID(int=0)))  #: before all that there are
API_HOSTS: Final = {
    ProviderType.GOOGLE: "gmail.googleapis.com",
    ProviderType.MICROSOFT: "graph.microsoft.com",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """An account to be added; its settings are checked already."""

    tenant_id: TenantId
    provider_type: ProviderType
    email_address: str
    settings: Mapping[str, Any]  #: IMAP: host, port, security, username
    credentials: Mapping[str, Secret]
    api_url: str | None = None  #: where the provider's API is; None: at its usual place


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountInfo:
    """Everything about an account but its credentials."""

    key: AccountKey
    provider_type: ProviderType
    email_address: str
    settings: Mapping[str, Any]
    endpoint: str
    status: AccountStatus
    is_active: bool
    priority: Priority
    last_synced_at: datetime | None
    next_sync_at: datetime
    attempt: int
    sync_error_count: int
    last_error: str | None
    last_error_class: str | None
    last_error_at: datetime | None
    circuit: Circuit
    endpoint_circuit: Circuit
    lease_owner: str | None
    lease_until: datetime | None
    leased_at: datetime | None
    created_at: datetime
    now: datetime  #: when all this was so, by the database's clock

    @property
    def situation(self) -> Situation:
        """How it stands: what its freshness is judged by."""
        is_held = self.lease_until is not None and self.lease_until > self.now
        return Situation(
            now=self.now,
            status=self.status,
            is_active=self.is_active,
            is_failing=self.last_error is not None,
            created_at=self.created_at,
            last_synced_at=self.last_synced_at,
            next_sync_at=self.next_sync_at,
            leased_at=self.leased_at if is_held else None,
            circuit=self.circuit,
            endpoint_circuit=self.endpoint_circuit,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A finished run."""

    id: int
    queue: str
    instance_id: str
    attempt: int
    result: RunResult
    error_class: str | None
    error: str | None
    started_at: datetime
    duration: timedelta
    created: int
    updated: int
    deleted: int
    quarantined: int
    unexplained: int
    fetched_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFilter:
    """Which accounts are listed; None: whatever it is. The order of fields is the statement's."""

    tenant_id: TenantId | None = None
    account_id: UUID | None = None
    provider_type: ProviderType | None = None
    status: AccountStatus | None = None
    email_address: str | None = None
    activity: Activity | None = None
    text: str | None = None  #: in the address or the tenant's id, whatever its case


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why an account is where it is, as far as the database knows."""

    account: AccountInfo
    folders: int
    backfilling_folders: int
    differing_folders: int  #: whose count is not the server's
    stored_messages: int  #: at the last check of each folder
    remote_messages: int
    next_comparison_at: datetime | None  #: of a folder in full; None: it has no folders yet
    quarantined: int
    runs: Sequence[RunInfo]  #: the latest first


class AccountStore:
    """The accounts of all tenants. A change takes effect at once, also on a run under way."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys

    async def add(self, new: NewAccount) -> AccountKey:
        """Add an account, and its tenant when that is new; it is synced at once.

        Raises:
            Misconfigured: the tenant has this account already or is being erased, or a name is
                empty or too long.
        """
        key = AccountKey(new.tenant_id, AccountId(uuid4()))

        async def work(connection: Connection) -> None:
            await make_tenant(connection, key.tenant_id)
            tenant = await connection.fetchrow(SQL["tenant"], key.tenant_id)
            assert tenant is not None
            await connection.execute(
                SQL["add"],
                key.tenant_id,
                key.account_id,
                new.provider_type,
                pg_text(new.email_address),
                pg_json(dict(new.settings)),
                seal_credentials(self._keys, key, new.credentials),
                endpoint_of(new.provider_type, new.settings, new.api_url),
                priority_of(tenant["plan"], tenant["last_login_at"], tenant["now"]),
            )
            await connection.execute(SQL["wake"])

        try:
            await self._database.transact(work)
        except UniqueViolationError as error:
            raise Misconfigured(
                f"tenant {new.tenant_id} already has the {new.provider_type} account "
                f"{new.email_address}"
            ) from error
        except CheckViolationError as error:
            raise Misconfigured("the tenant's id or the address is empty or too long") from error
        return key

    async def list_all(self, tenant_id: TenantId | None = None) -> Sequence[AccountInfo]:
        """Return all accounts, or those of one tenant, ordered by tenant and address."""
        accounts = await self.page(AccountFilter(tenant_id=tenant_id))
        return sorted(
            accounts,
            key=lambda each: (each.key.tenant_id, each.email_address, each.provider_type),
        )

    async def find(self, email_or_id: str) -> Sequence[AccountInfo]:
        """Return the accounts that an operator means: several tenants may have one address."""
        try:
            return await self.page(AccountFilter(account_id=UUID(email_or_id)))
        except ValueError:
            return await self.page(AccountFilter(email_address=pg_text(email_or_id)))

    async def get(self, account_id: AccountId, tenant_id: TenantId | None) -> AccountInfo | None:
        """Return an account, of one tenant if that is given; None: there is none."""
        wanted = AccountFilter(tenant_id=tenant_id, account_id=account_id)
        return next(iter(await self.page(wanted)), None)

    async def page(
        self,
        wanted: AccountFilter,
        *,
        after: AccountKey = FIRST,
        limit: int | None = None,
        settings: Settings | None = None,
    ) -> Sequence[AccountInfo]:
        """Return up to `limit` accounts behind a key, or all, in the order of keys.

        An activity goes by the intervals of `settings`; without them no account has one.
        """
        async with self._database.connection() as connection:
            rows = await _account_rows(connection, wanted, after, limit, settings)
        return [_account(row) for row in rows]

    async def change(
        self,
        account: AccountInfo,
        *,
        settings: Mapping[str, Any],
        credentials: Mapping[str, Secret] | None,
        is_active: bool,
        api_url: str | None = None,
    ) -> bool:
        """Replace what an account is, and try it at once; return whether it is still there.

        Args:
            account: as it was.
            settings: checked ones.
            credentials: new ones; None: those that are stored.
            is_active: whether the application wants it synced.
            api_url: where its API is, if not at its usual place.
        """
        sealed = None
        if credentials is not None:
            sealed = seal_credentials(self._keys, account.key, credentials)
        return await self._change(
            "change",
            account.key,
            pg_json(dict(settings)),
            endpoint_of(account.provider_type, settings, api_url),
            sealed,
            is_active,
        )

    async def request_sync(self, key: AccountKey) -> bool:
        """Have it synced before all that is due; return whether it is one that is synced."""
        return await self._change("request", key)

    async def opened(self, account: AccountInfo) -> Account | None:
        """Return what it takes to log in to an account; None: it is gone.

        Raises:
            OperatorMustAct, Misconfigured: its credentials cannot be decrypted, see sealing.py.
        """
        key = account.key
        async with self._database.connection() as connection:
            row = await connection.fetchrow(SQL["credentials"], key.tenant_id, key.account_id)
        if row is None:
            return None
        return Account(
            key=key,
            provider_type=account.provider_type,
            email_address=account.email_address,
            settings=account.settings,
            credentials=open_credentials(self._keys, key, row["credentials"]),
        )

    async def pause(self, key: AccountKey) -> bool:
        """Stop syncing; return whether there is such an account."""
        return await self._change("pause", key)

    async def resume(self, key: AccountKey) -> bool:
        """Sync again and at once, whatever stopped it; return whether there is such an account."""
        return await self._change("resume", key)

    async def set_credentials(self, key: AccountKey, credentials: Mapping[str, Secret]) -> bool:
        """Replace the credentials; an account that needed it is resumed separately."""
        return await self._change(
            "set_credentials", key, seal_credentials(self._keys, key, credentials)
        )

    async def runs(
        self, key: AccountKey, *, limit: int = 20, before: int = MAX_ID
    ) -> Sequence[RunInfo]:
        """Return the last runs before one, the latest first."""
        async with self._database.connection() as connection:
            return await _runs(connection, key, limit, before)

    async def explain(self, key: AccountKey) -> Explanation | None:
        """Return what is known of an account; None: there is none."""
        async with self._database.connection() as connection:
            wanted = AccountFilter(tenant_id=key.tenant_id, account_id=key.account_id)
            rows = await _account_rows(connection, wanted)
            if not rows:
                return None
            facts = await connection.fetchrow(SQL["completeness"], key.tenant_id, key.account_id)
            assert facts is not None
            return Explanation(
                account=_account(rows[0]),
                runs=await _runs(connection, key, 5, MAX_ID),
                **dict(facts),
            )

    async def _change(self, name: str, key: AccountKey, *values: Any) -> bool:
        async def work(connection: Connection) -> bool:
            found = await connection.fetchval(SQL[name], key.tenant_id, key.account_id, *values)
            if found is not None:
                await connection.execute(SQL["wake_for"], key.tenant_id, key.account_id)
            return found is not None

        return await self._database.transact(work)


def endpoint_of(
    provider_type: ProviderType, settings: Mapping[str, Any], api_url: str | None = None
) -> str:
    """Return the key of the circuit that the account shares with all others on its server."""
    if provider_type is ProviderType.IMAP:
        return pg_text(f"{settings['host']}:{settings['port']}".lower())
    return API_HOSTS[provider_type] if api_url is None else urlsplit(api_url).netloc.lower()


async def _account_rows(
    connection: Connection,
    wanted: AccountFilter,
    after: AccountKey = FIRST,
    limit: int | None = None,
    settings: Settings | None = None,
) -> Sequence[Record]:
    place = (after.tenant_id, after.account_id, limit)
    return await connection.fetch(
        SQL["accounts"], *situation_values(settings), *place, *astuple(wanted)
    )


async def _runs(
    connection: Connection, key: AccountKey, limit: int, before: int
) -> Sequence[RunInfo]:
    rows = await connection.fetch(SQL["runs"], key.tenant_id, key.account_id, limit, before)
    return [run_info(**dict(row)) for row in rows]


def run_info(*, result: str, duration_ms: int, **columns: Any) -> RunInfo:
    """Return a row of `sync_runs`."""
    duration = timedelta(milliseconds=duration_ms)
    return RunInfo(result=RunResult(result), duration=duration, **columns)


def _circuit(state: str | None, failures: int, retry_at: datetime | None) -> Circuit:
    """Return a circuit as stored; the endpoint that never failed has none."""
    if state is None:
        return Circuit()
    return Circuit(CircuitState(state), failures, retry_at)


def _account(row: Record) -> AccountInfo:
    return AccountInfo(
        key=AccountKey(TenantId(row["tenant_id"]), AccountId(row["id"])),
        provider_type=ProviderType(row["provider_type"]),
        email_address=row["email_address"],
        settings=orjson.loads(row["settings"]),
        endpoint=row["endpoint"],
        status=AccountStatus(row["status"]),
        is_active=row["is_active"],
        priority=Priority(row["sync_priority"]),
        last_synced_at=row["last_synced_at"],
        next_sync_at=row["next_sync_at"],
        attempt=row["attempt"],
        sync_error_count=row["sync_error_count"],
        last_error=row["last_error"],
        last_error_class=row["last_error_class"],
        last_error_at=row["last_error_at"],
        circuit=_circuit(row["circuit_state"], row["circuit_failures"], row["circuit_retry_at"]),
        endpoint_circuit=_circuit(
            row["endpoint_state"], row["endpoint_failures"], row["endpoint_retry_at"]
        ),
        lease_owner=row["lease_owner"],
        lease_until=row["lease_until"] if row["lease_owner"] else None,
        leased_at=row["leased_at"] if row["lease_owner"] else None,
        created_at=row["created_at"],
        now=row["now"],
    )
