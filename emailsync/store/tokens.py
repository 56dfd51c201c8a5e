"""The bearer tokens of the HTTP API. Only their hashes are stored, so nobody reads one here."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asyncpg import CheckViolationError, UniqueViolationError

from emailsync.domain.access import Grant, Scope
from emailsync.domain.accounts import TenantId
from emailsync.domain.errors import Misconfigured
from emailsync.store.database import Connection, Database
from emailsync.store.queries import load_queries
from emailsync.store.tenants import make_tenant
from emailsync.store.text import pg_text

SQL: Final = load_queries("tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """Everything about a token but the token."""

    name: str
    scope: Scope
    tenant_id: TenantId | None
    expires_at: datetime | None
    created_at: datetime
    is_over: bool  #: expired


class TokenStore:
    """The tokens that every daemon on this database accepts, from the next request on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, name: str, sha256: bytes, grant: Grant, *, expires_at: datetime | None
    ) -> None:
        """Add a token by its hash, and its tenant when that is new.

        Raises:
            Misconfigured: the name is taken, or empty or too long.
        """

        async def work(connection: Connection) -> None:
            if grant.tenant_id is not None:
                await make_tenant(connection, grant.tenant_id)
            await connection.execute(
                SQL["add"], pg_text(name), sha256, grant.scope, grant.tenant_id, expires_at
            )

        try:
            await self._database.transact(work)
        except UniqueViolationError as error:
            raise Misconfigured(f"there is a token {name} already: remove it first") from error
        except CheckViolationError as error:
            raise Misconfigured("the token's name or its tenant is empty or too long") from error

    async def find(self, sha256: bytes) -> Grant | None:
        """Return what the token of this hash opens; None: nothing, or no longer."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(SQL["find"], sha256)
        if row is None:
            return None
        tenant_id = row["tenant_id"]
        return Grant(Scope(row["scope"]), None if tenant_id is None else TenantId(tenant_id))

    async def hashes(self) -> Collection[bytes]:
        """Return the SHA-256 of every token that opens something."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(SQL["hashes"])
        return frozenset(row["sha256"] for row in rows)

    async def list_all(self) -> Sequence[TokenInfo]:
        """Return all tokens, by name."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(SQL["tokens"])
        return [TokenInfo(**{**row, "scope": Scope(row["scope"])}) for row in rows]

    async def remove(self, name: str) -> bool:
        """Remove a token; return whether there was one."""
        async with self._database.connection() as connection:
            return await connection.fetchval(SQL["remove"], pg_text(name)) is not None
