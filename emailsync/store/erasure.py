"""Removes accounts and tenants for good, however large: a mark first, then rows in bounded batches.

What is marked is gone for everybody at once. An erasure that is interrupted goes on with `resume`;
two at the same time do no harm.
"""

from typing import Any, Final

from emailsync.domain.accounts import AccountId, AccountKey, TenantId
from emailsync.store.database import Connection, Database
from emailsync.store.queries import load_queries

SQL: Final = load_queries("erasure")
ROWS_AT_ONCE: Final = 1_000  #: a fraction of a second, with all that hangs on a message


class Erasure:
    """Removes accounts and tenants. Raises StoreUnavailable; what was erased stays so."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mark_account(self, key: AccountKey) -> bool:
        """Let the account be gone for everybody; return whether there was one."""

        async def work(connection: Connection) -> bool:
            found = await connection.fetchval(SQL["mark_account"], key.tenant_id, key.account_id)
            return found is not None

        return await self._database.persist(work)

    async def mark_tenant(self, tenant_id: TenantId) -> bool:
        """Let the tenant and its accounts be gone for everybody; return whether there was one."""

        async def work(connection: Connection) -> bool:
            if await connection.fetchval(SQL["mark_tenant"], tenant_id) is None:
                return False
            await connection.execute(SQL["mark_accounts"], tenant_id)
            return True

        return await self._database.transact(work)

    async def erase_account(self, key: AccountKey) -> None:
        """Erase a marked account and its mail; the feed is told of every message."""
        where = key.tenant_id, key.account_id
        for statement in ("erase_messages", "erase_runs", "erase_quarantine"):
            await self._erase_all(statement, *where)
        await self._execute("erase_account", *where)

    async def erase_tenant(self, tenant_id: TenantId) -> None:
        """Erase every row of a marked tenant, its part of the feed and its tokens included."""
        for key in await self._marked_accounts(tenant_id):
            await self.erase_account(key)
        await self._erase_all("erase_changes", tenant_id)
        await self._execute("erase_tenant", tenant_id)

    async def resume(self) -> int:
        """Go on with all that is marked; return how many accounts and tenants that were."""
        async with self._database.connection() as connection:
            tenants = [TenantId(row["id"]) for row in await connection.fetch(SQL["marked_tenants"])]
        accounts = await self._marked_accounts(None)
        for key in accounts:
            await self.erase_account(key)
        for tenant_id in tenants:
            await self.erase_tenant(tenant_id)
        return len(accounts) + len(tenants)

    async def _marked_accounts(self, tenant_id: TenantId | None) -> list[AccountKey]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(SQL["marked_accounts"], tenant_id)
        return [AccountKey(TenantId(row["tenant_id"]), AccountId(row["id"])) for row in rows]

    async def _erase_all(self, statement: str, *where: Any) -> None:
        async def work(connection: Connection) -> int:
            return int(await connection.fetchval(SQL[statement], *where, ROWS_AT_ONCE))

        while await self._database.persist(work):
            pass

    async def _execute(self, statement: str, *where: Any) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(SQL[statement], *where)

        await self._database.persist(work)
