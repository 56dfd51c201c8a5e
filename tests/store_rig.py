"""A store with one leased account and one folder, and short words for what arrives in it."""

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg

from emailsync.config import LiveSettings, Settings
from emailsync.crypto import KeyRing
from emailsync.domain.accounts import AccountId, AccountKey, Lease, TenantId
from emailsync.domain.folders import FolderChanges, FolderId, RemoteFolder
from emailsync.domain.mail import Address, Attachment, Flags, ParsedMessage
from emailsync.domain.pages import (
    FetchedMessage,
    PageChanges,
    PageResult,
    Placement,
    ReadyMessage,
    ReadyPage,
    imap_remote_id,
)
from emailsync.store.database import Database, open_database
from emailsync.store.mail import PostgresMailStore
from emailsync.store.stored_mail import PostgresStoredMail

KEYS = KeyRing({"test": bytes(32)})
UID_VALIDITY = 7
MAIL_TABLES = ("folders", "messages", "message_folders", "attachments", "changes")


async def add_account(
    connection: "asyncpg.Connection[asyncpg.Record]",
    tenant: str = "acme",
    **columns: Any,
) -> AccountKey:
    """Insert an account, and its tenant when it is new; `columns` override the defaults."""
    key = AccountKey(TenantId(tenant), AccountId(uuid4()))
    values = {
        "tenant_id": tenant,
        "id": key.account_id,
        "provider_type": "imap",
        "email_address": f"{key.account_id}@example.test",
        "endpoint": "imap.example.test:993",
    } | columns
    await connection.execute("INSERT INTO tenants (id) VALUES ($1) ON CONFLICT DO NOTHING", tenant)
    await connection.execute(
        f"INSERT INTO provider_configs ({', '.join(values)}) "  # noqa: S608 - the tests' own names
        f"VALUES ({', '.join(f'${number}' for number in range(1, len(values) + 1))})",
        *values.values(),
    )
    return key


async def account_row(
    connection: "asyncpg.Connection[asyncpg.Record]", key: AccountKey
) -> asyncpg.Record:
    """Return the account's row, with the seconds until it is due as `wait_s`."""
    row = await connection.fetchrow(
        "SELECT *, extract(epoch FROM next_sync_at - now())::float AS wait_s"
        " FROM provider_configs WHERE tenant_id = $1 AND id = $2",
        *(key.tenant_id, key.account_id),
    )
    assert row is not None
    return row


@dataclass
class StoreRig:
    """The store, what it stores for, and a connection that looks at the rows."""

    database: Database
    connection: "asyncpg.Connection[asyncpg.Record]"
    settings: LiveSettings
    store: PostgresMailStore
    lease: Lease
    inbox: FolderId

    @property
    def stored(self) -> PostgresStoredMail:
        return self.store.stored_mail(self.lease)

    async def folder(self, name: str) -> FolderId:
        """Return a folder of the account, made when it is not there."""
        seen = FolderChanges(seen=(RemoteFolder(remote_id=name, path=name),))
        folders = await self.stored.save_folders(seen)
        return next(folder.id for folder in folders if folder.remote_id == name)

    async def apply(self, messages: Sequence[ReadyMessage] = (), **changes: Any) -> PageResult:
        """Apply a page."""
        page = ReadyPage(messages=messages, changes=PageChanges(**changes))
        return await self.store.apply(self.lease, page)

    def name(self, uid: int, folder: FolderId | None = None) -> str:
        return imap_remote_id(folder or self.inbox, UID_VALIDITY, uid)

    def message(
        self, uid: int, text: str = "", *, folder: FolderId | None = None, **fields: Any
    ) -> ReadyMessage:
        """Return a message whose bytes are its own, or those of every message of the same text."""
        raw = (text or f"message {uid}").encode("utf-8", "surrogatepass")
        fetched = FetchedMessage(
            remote_id=self.name(uid, folder),
            placements=(Placement(folder or self.inbox, uid),),
            flags=Flags(),
            received_at=datetime(2026, 1, 1, tzinfo=UTC),
            size_bytes=len(raw),
            raw=raw,
        )
        parsed = ParsedMessage(
            subject=text or f"message {uid}",
            from_=Address("Ann", "ann@example.test"),
            body_text=text,
            headers={"subject": [text]},
            attachments=(
                Attachment(
                    position=0,
                    filename="a.txt",
                    content_type="text/plain",
                    size_bytes=3,
                    content_id=None,
                    is_inline=False,
                    sha256=hashlib.sha256(b"abc").digest(),
                ),
            ),
        )
        ready = ReadyMessage(
            fetched=fetched, parsed=parsed, raw_sha256=hashlib.sha256(raw).digest()
        )
        return changed(ready, **fields)

    async def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.connection.fetch(statement, *values)]

    async def ids(self) -> dict[str, int]:
        """Return the id of every live message by its name."""
        rows = await self.connection.fetch(
            "SELECT remote_id, id FROM messages WHERE deleted_at IS NULL AND detached_at IS NULL"
        )
        return {row["remote_id"]: row["id"] for row in rows}

    async def uids(self, folder: FolderId | None = None) -> list[int | None]:
        rows = await self.connection.fetch(
            "SELECT uid FROM message_folders WHERE folder_id = $1 ORDER BY uid",
            folder or self.inbox,
        )
        return [row["uid"] for row in rows]

    async def feed(self) -> list[tuple[int, str]]:
        """Return the whole change feed."""
        rows = await self.connection.fetch("SELECT message_id, kind FROM changes ORDER BY seq")
        return [(row["message_id"], row["kind"]) for row in rows]

    async def row_versions(self) -> Mapping[str, Any]:
        """Return the version of every row that a page may write."""
        return {
            table: await self.rows(f"SELECT ctid::text, xmin::text FROM {table} ORDER BY ctid")  # noqa: S608 - a fixed name
            for table in MAIL_TABLES
        }


def changed(message: ReadyMessage, **fields: Any) -> ReadyMessage:
    """Return the message with fields replaced, whichever of its three parts has them."""
    fetched, parsed = message.fetched, message.parsed
    of_fetched = {name: fields.pop(name) for name in list(fields) if hasattr(fetched, name)}
    of_parsed = {name: fields.pop(name) for name in list(fields) if hasattr(parsed, name)}
    return replace(
        message,
        fetched=replace(fetched, **of_fetched),
        parsed=replace(parsed, **of_parsed),
        **fields,
    )


@asynccontextmanager
async def store_rig(url: str) -> AsyncIterator[StoreRig]:
    """Open everything on a migrated database."""
    connection = await asyncpg.connect(url)
    try:
        key = await add_account(connection, lease_epoch=1)
        settings = LiveSettings(Settings())
        async with open_database(url, pool_max=4) as database:
            store = PostgresMailStore(database, KEYS, settings)
            rig = StoreRig(database, connection, settings, store, Lease(key, 1), FolderId(0))
            rig.inbox = await rig.folder("INBOX")
            yield rig
    finally:
        await connection.close()
