"""The application's tenants: what the priority and the share of their accounts come from.

A change moves priorities and due times in the same transaction, and the daemons are told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from asyncpg import Record

from emailsync.config import LiveSettings
from emailsync.domain.accounts import TenantId
from emailsync.domain.errors import Misconfigured
from emailsync.domain.priority import Priority, priority_of
from emailsync.store.database import Connection, Database
from emailsync.store.intervals import interval_columns
from emailsync.store.queries import load_queries
from emailsync.store.text import pg_text, pg_time

SQL: Final = load_queries("tenants")
REPRIORITISE: Final = load_queries("leases")["reprioritise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantInfo:
    """A tenant as stored, and the priority that follows."""

    id: TenantId
    plan: str | None
    last_login_at: datetime | None
    weight: float
    created_at: datetime
    priority: Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantChange:
    """What is to become of a tenant; a field that is not among `fields` stays as it is."""

    fields: frozenset[str]
    plan: str | None = None
    last_login_at: datetime | None = None
    weight: float = 1.0


class TenantStore:
    """All tenants. Raises StoreUnavailable."""

    def __init__(self, database: Database, settings: LiveSettings) -> None:
        self._database = database
        self._settings = settings

    async def page(self, *, after: str, limit: int) -> Sequence[TenantInfo]:
        """Return up to `limit` tenants behind the id `after`, by id."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(SQL["tenants"], pg_text(after), limit)
        return [_tenant(row) for row in rows]

    async def get(self, tenant_id: TenantId) -> TenantInfo | None:
        """Return a tenant; None: there is none."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(SQL["tenant"], tenant_id)
        return None if row is None else _tenant(row)

    async def put(self, tenant_id: TenantId, change: TenantChange) -> tuple[TenantInfo, bool]:
        """Change a tenant, made if it is new; return it, and whether it is new.

        Its accounts have their new priority and due time after that, in every daemon. One that is
        being written at this moment has it with the next tick.

        Raises:
            Misconfigured: the tenant is being erased.
        """

        async def work(connection: Connection) -> tuple[TenantInfo, bool]:
            is_new = await make_tenant(connection, tenant_id)
            before = await connection.fetchrow(SQL["change"], tenant_id, *_values(change))
            row = await connection.fetchrow(SQL["tenant"], tenant_id)
            assert before is not None
            assert row is not None
            columns = interval_columns(self._settings.current)
            moved = await connection.execute(REPRIORITISE, *columns, tenant_id)
            if moved != "UPDATE 0" or before["weight"] != row["weight"]:
                await connection.execute(SQL["wake"], tenant_id)
            return _tenant(row), is_new

        return await self._database.transact(work)


async def make_tenant(connection: Connection, tenant_id: TenantId) -> bool:
    """Make the tenant unless it is there; return whether it is new.

    Raises:
        Misconfigured: it is being erased.
    """
    is_new: bool | None = await connection.fetchval(SQL["make"], tenant_id)
    if is_new is None:
        raise Misconfigured(f"tenant {tenant_id} is being erased: try again when that is done")
    return is_new


def _values(change: TenantChange) -> Sequence[Any]:
    values = {
        "plan": None if change.plan is None else pg_text(change.plan),
        "last_login_at": pg_time(change.last_login_at),
        "weight": change.weight,
    }
    return [each for name, value in values.items() for each in (name in change.fields, value)]


def _tenant(row: Record) -> TenantInfo:
    return TenantInfo(
        id=TenantId(row["id"]),
        plan=row["plan"],
        last_login_at=row["last_login_at"],
        weight=row["weight"],
        created_at=row["created_at"],
        priority=priority_of(row["plan"], row["last_login_at"], row["now"]),
    )
