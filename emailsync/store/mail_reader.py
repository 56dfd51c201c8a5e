"""Synced mail as the API shows it: lists, messages, and bytes in pieces. Reads only.

Each read names the tenant, so another tenant's message is one that does not exist.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from asyncpg import Record

from emailsync.domain.accounts import TenantId
from emailsync.store.database import Database
from emailsync.store.queries import load_queries
from emailsync.store.text import LATEST, pg_time

SQL: Final = load_queries("reading")
JSON_COLUMNS: Final = ("to_addresses", "cc_addresses", "bcc_addresses", "reply_to", "headers")
PIECE_BYTES: Final = 1024 * 1024  #: more at once would block the event loop for long


@dataclass(frozen=True, slots=True)
class ListPosition:
    """Behind which message of a list to go on."""

    listed_at: datetime  #: when it was received, or stored where no server says
    message_id: int


TOP: Final = ListPosition(LATEST, 2**63 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which messages are listed."""

    tenant_id: TenantId
    provider_id: UUID | None = None
    folder_id: int | None = None


@dataclass(frozen=True, slots=True)
class RawMessage:
    """The bytes of a message, as far as is known before they are read."""

    size_bytes: int | None  #: None: they were not kept
    raw_sha256: bytes | None


@dataclass(frozen=True, slots=True)
class AttachmentName:
    """What an attachment is called, and what recognises its bytes."""

    filename: str | None
    sha256: bytes | None


class MailReader:
    """The mail of all tenants. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, selected: Selection, *, after: ListPosition, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """Return up to `limit` messages behind `after`, the latest first, by column."""
        values: list[Any] = [
            selected.tenant_id,
            pg_time(after.listed_at),
            after.message_id,
            limit,
            selected.folder_id,
        ]
        name = "messages" if selected.provider_id is None else "account_messages"
        if selected.provider_id is not None:
            values.append(selected.provider_id)
        async with self._database.connection() as connection:
            return [_columns(row) for row in await connection.fetch(SQL[name], *values)]

    async def message(self, tenant_id: TenantId, message_id: int) -> Mapping[str, Any] | None:
        """Return a message by column, its `folders` and `attachments` with it; None: none is there.

        One that was deleted is there until its retention is over.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(SQL["message"], tenant_id, message_id)
            if row is None:
                return None
            folders = await connection.fetch(SQL["folders"], tenant_id, message_id)
            attachments = await connection.fetch(SQL["attachments"], tenant_id, message_id)
        return {
            **_columns(row),
            "folders": [dict(folder) for folder in folders],
            "attachments": [dict(attachment) for attachment in attachments],
        }

    async def raw(self, tenant_id: TenantId, message_id: int) -> RawMessage | None:
        """Return what is known of a message's bytes; None: there is no such message."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(SQL["raw"], tenant_id, message_id)
        return None if row is None else RawMessage(**row)

    async def pieces(
        self, tenant_id: TenantId, message_id: int, size_bytes: int
    ) -> AsyncIterator[bytes]:
        """Yield the bytes of a message in pieces. One that vanishes meanwhile ends too early."""
        for start in range(0, size_bytes, PIECE_BYTES):
            async with self._database.connection() as connection:
                piece = await connection.fetchval(
                    SQL["raw_piece"], tenant_id, message_id, start + 1, PIECE_BYTES
                )
            if not piece:
                return
            yield piece

    async def attachment(
        self, tenant_id: TenantId, message_id: int, position: int
    ) -> AttachmentName | None:
        """Return what is stored of an attachment; None: there is none."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(SQL["attachment"], tenant_id, message_id, position)
        return None if row is None else AttachmentName(**row)


def _columns(row: Record) -> dict[str, Any]:
    columns = dict(row)
    for name in JSON_COLUMNS:
        if name in columns:
            columns[name] = orjson.loads(columns[name])
    return columns
