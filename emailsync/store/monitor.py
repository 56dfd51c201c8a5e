"""What people watch: how accounts stand, what was synced lately, what is kept back. Reads only.

Each question is answered for all tenants, or for one. Raises StoreUnavailable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from emailsync.config import Settings
from emailsync.domain.accounts import AccountId, AccountKey, AccountStatus, ProviderType, TenantId
from emailsync.domain.circuit import CircuitState
from emailsync.domain.freshness import Activity
from emailsync.domain.priority import Priority
from emailsync.domain.runs import RunResult
from emailsync.metrics import NOT_FAILED
from emailsync.store.accounts import RunInfo, run_info
from emailsync.store.database import Connection, Database
from emailsync.store.intervals import situation_values
from emailsync.store.queries import load_queries

SQL: Final = load_queries("monitor", "situations")
FAILED: Final = [result for result in RunResult if result not in NOT_FAILED]
SPANS: Final = 60
SPAN_S: Final = 10.0
MOST_CIRCUITS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Accounts that have type, priority, status and activity in common."""

    provider_type: ProviderType
    priority: Priority
    status: AccountStatus
    activity: Activity
    accounts: int
    failing: int  #: of these, the ones whose last run failed or was asked to wait
    open_circuits: int  #: of these, the ones whose own circuit is not closed
    due_for_s: float  #: the longest wait of one that is due; means nothing while stopped
    unsynced_s: float  #: by how much the least fresh one is older than its interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """How much is stored, of how much there is, at the last look at each folder."""

    stored_messages: int
    remote_messages: int
    differing_folders: int  #: whose count is not the server's
    backfilling_folders: int  #: with older mail to come
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What the runs that ended in a span of `SPAN_S` did."""

    completed: int = 0
    failed: int = 0
    messages: int = 0  #: rows made, changed or marked as deleted
    fetched_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCircuit:
    """An endpoint that is left alone for a while."""

    provider_type: ProviderType
    endpoint: str
    state: CircuitState
    failures: int  #: in a row
    retry_at: datetime
    accounts: int  #: that wait for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything at one moment."""

    standings: Sequence[Standing]
    mail: Mail
    pace: Sequence[Span]  #: `SPANS` of them, the latest last
    circuits: Sequence[OpenCircuit]  #: the `MOST_CIRCUITS` that keep the most accounts back


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRun:
    """A run, and whose it was."""

    key: AccountKey
    email_address: str
    provider_type: ProviderType
    run: RunInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderInfo:
    """A folder at its last look."""

    id: int
    path: str
    role: str | None
    stored_count: int
    remote_count: int | None  #: None: not counted yet
    is_backfilling: bool  #: older mail is still to come
    checked_at: datetime | None


class Monitor:
    """Looks at the accounts of all tenants, or of one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def picture(self, settings: Settings, tenant_id: TenantId | None) -> Picture:
        """Return everything that is seen at once; what accounts do goes by the intervals."""
        async with self._database.connection() as connection:
            standings = await connection.fetch(
                SQL["accounts"], *situation_values(settings), tenant_id
            )
            mail = await connection.fetchrow(SQL["mail"], tenant_id)
            circuits = await connection.fetch(SQL["circuits"], tenant_id, MOST_CIRCUITS)
            pace = await _pace(connection, tenant_id)
        assert mail is not None
        return Picture(
            standings=[_standing(**dict(row)) for row in standings],
            mail=Mail(**dict(mail)),
            pace=pace,
            circuits=[_circuit(**dict(row)) for row in circuits],
        )

    async def runs(
        self, tenant_id: TenantId | None, *, minutes: int, failed: bool, limit: int
    ) -> Sequence[AccountRun]:
        """Return the last runs that began in so many minutes, the latest first."""
        results = FAILED if failed else None
        async with self._database.connection() as connection:
            rows = await connection.fetch(SQL["runs"], tenant_id, limit, minutes, results)
        return [_run(**dict(row)) for row in rows]

    async def folders(
        self, key: AccountKey, *, after: tuple[str, int], limit: int
    ) -> Sequence[FolderInfo]:
        """Return up to `limit` folders of an account behind a path and id, in their order."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                SQL["folders"], key.tenant_id, key.account_id, *after, limit
            )
        return [FolderInfo(**dict(row)) for row in rows]


async def _pace(connection: Connection, tenant_id: TenantId | None) -> Sequence[Span]:
    rows = await connection.fetch(SQL["pace"], tenant_id, SPANS, SPAN_S, FAILED)
    spans = {row["span"]: {key: row[key] for key in Span.__slots__} for row in rows}
    return [Span(**spans.get(age, {})) for age in reversed(range(SPANS))]


def _standing(
    *, provider_type: str, sync_priority: int, status: str, activity: str, **counts: Any
) -> Standing:
    return Standing(
        provider_type=ProviderType(provider_type),
        priority=Priority(sync_priority),
        status=AccountStatus(status),
        activity=Activity(activity),
        **counts,
    )


def _circuit(*, provider_type: str, state: str, **facts: Any) -> OpenCircuit:
    return OpenCircuit(
        provider_type=ProviderType(provider_type), state=CircuitState(state), **facts
    )


def _run(
    *, tenant_id: str, provider_id: UUID, email_address: str, provider_type: str, **run: Any
) -> AccountRun:
    return AccountRun(
        key=AccountKey(TenantId(tenant_id), AccountId(provider_id)),
        email_address=email_address,
        provider_type=ProviderType(provider_type),
        run=run_info(**run),
    )
