"""The change feed, read in an order in which nothing is overtaken.

Numbers are given out before a transaction ends, so by them alone a late one would be skipped. The
feed goes by transaction first, and a reader is shown a change only when no older transaction runs.
One that runs for long, in any database of the server, holds the feed up; it never loses a change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Final, Literal
from uuid import UUID

from asyncpg import Record

from emailsync.domain.accounts import TenantId
from emailsync.store.database import Database
from emailsync.store.queries import load_queries

SQL: Final = load_queries("feed")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the feed: behind the change with this transaction and number."""

    xact: int
    seq: int


START: Final = Position(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One message was created, updated or deleted."""

    position: Position
    tenant_id: TenantId
    provider_id: UUID
    message_id: int
    kind: Literal["created", "updated", "deleted"]
    at: datetime


@dataclass(frozen=True, slots=True)
class Reading:
    """What is to be told now."""

    changes: Sequence[Change]
    is_held_up: bool  #: there are more, which wait for an older transaction to end


class ChangeFeed:
    """The feed of all tenants. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self, after: Position, *, limit: int, tenant_id: TenantId | None = None
    ) -> Reading:
        """Return up to `limit` changes behind `after`, oldest first, of one tenant or of all."""
        values = [str(after.xact), after.seq, limit]
        name = "changes" if tenant_id is None else "tenant_changes"
        if tenant_id is not None:
            values.append(tenant_id)
        async with self._database.connection() as connection:
            rows = await connection.fetch(SQL[name], *values)
        settled = list(takewhile(lambda row: row["is_settled"], rows))
        return Reading([_change(row) for row in settled], is_held_up=len(settled) < len(rows))


def _change(row: Record) -> Change:
    return Change(
        position=Position(row["xact"], row["seq"]),
        tenant_id=TenantId(row["tenant_id"]),
        provider_id=row["provider_id"],
        message_id=row["message_id"],
        kind=row["kind"],
        at=row["at"],
    )
