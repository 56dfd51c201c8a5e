"""One account synced in this process: the real session, parser and store, no scheduler.

The account's row is leased once and for all, so `sync` may be called again and again.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson

from dovecot_mailbox import DovecotMailbox, Snapshot, StoredMessage
from emailsync.app import SystemClock
from emailsync.config import ImapSettings, LiveSettings, Settings, StoreSettings
from emailsync.crypto import KeyRing, Secret, generate_key_file
from emailsync.domain.accounts import AccountId, AccountKey, ProviderType, TenantId
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority
from emailsync.domain.runs import SyncCounts
from emailsync.mime.pool import MimeParser
from emailsync.providers.registry import session_openers
from emailsync.store.credential_vault import PostgresCredentialVault
from emailsync.store.database import open_database
from emailsync.store.mail import PostgresMailStore
from emailsync.store.sealing import seal_credentials
from emailsync.sync.progress import QUANTUM, Progress
from emailsync.sync.run_job import RunJob

SYNCED_TABLES = ("folders", "messages", "message_folders", "attachments", "changes", "quarantine")


class WallClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class SyncedAccount:
    """An account with the mailbox behind it, and what the database says of both."""

    mailbox: DovecotMailbox
    job: SyncJob
    run_job: RunJob
    connection: "asyncpg.Connection[asyncpg.Record]"

    async def sync(self, quantum: timedelta = QUANTUM) -> SyncCounts:
        """Run the job until the account is up to date; return what the last run changed."""
        while True:
            progress = Progress.start(WallClock(), quantum)
            if not await self.run_job(self.job, progress):
                return progress.counts

    async def assert_equal(self) -> None:
        """Hold the database against the server: folders, UIDs, raw bytes and flags."""
        assert await self.stored() == self.mailbox.snapshot()

    async def stored(self) -> Snapshot:
        """Return what is stored, in the form of the server's snapshot."""
        folders = await self.connection.fetch("SELECT path FROM folders")
        snapshot: Snapshot = {row["path"]: {} for row in folders}
        rows = await self.connection.fetch(
            """
            SELECT f.path, mf.uid, encode(sha256(m.raw), 'hex') AS sha256,
                m.raw_sha256 = sha256(m.raw) AS hash_is_right, m.is_read, m.is_starred,
                m.is_answered, m.is_draft, m.keywords
            FROM message_folders mf
            JOIN folders f ON f.tenant_id = mf.tenant_id AND f.id = mf.folder_id
            JOIN messages m ON m.tenant_id = mf.tenant_id AND m.id = mf.message_id
            WHERE m.deleted_at IS NULL
            """
        )
        for row in rows:
            assert row["hash_is_right"]
            snapshot[row["path"]][row["uid"]] = StoredMessage(row["sha256"], _flags(row))
        return snapshot

    async def count(self, what: str) -> int:
        """Return how many rows `SELECT ... FROM what` has."""
        return int(await self.connection.fetchval(f"SELECT count(*) FROM {what}"))  # noqa: S608 - a test's own text

    async def message_ids(self, path: str | None = None) -> set[int]:
        """Return the ids of all live messages, or of those in one folder."""
        rows = await self.connection.fetch(
            """
            SELECT DISTINCT m.id FROM messages m
            JOIN message_folders mf ON mf.tenant_id = m.tenant_id AND mf.message_id = m.id
            JOIN folders f ON f.tenant_id = mf.tenant_id AND f.id = mf.folder_id
            WHERE m.deleted_at IS NULL AND ($1::text IS NULL OR f.path = $1)
            """,
            path,
        )
        return {row["id"] for row in rows}

    async def row_versions(self) -> Mapping[str, Any]:
        """Return the version of every row that a sync may write."""
        return {
            table: await self.connection.fetch(
                f"SELECT ctid, xmin::text FROM {table} ORDER BY ctid"  # noqa: S608 - a fixed name
            )
            for table in SYNCED_TABLES
        }

    async def kinds_of_last_changes(self, count: int) -> list[str]:
        """Return the kinds of the newest rows of the change feed."""
        rows = await self.connection.fetch(
            "SELECT kind FROM changes ORDER BY seq DESC LIMIT $1", count
        )
        return [row["kind"] for row in rows]


def _flags(row: asyncpg.Record) -> frozenset[str]:
    names = {
        "\\Seen": row["is_read"],
        "\\Flagged": row["is_starred"],
        "\\Answered": row["is_answered"],
        "\\Draft": row["is_draft"],
    }
    return frozenset(name for name, is_set in names.items() if is_set) | set(row["keywords"])


@asynccontextmanager
async def synced_account(
    database_url: str,
    mailbox: DovecotMailbox,
    *,
    host: str,
    port: int,
    key_file: Path,
    store: StoreSettings | None = None,
) -> AsyncIterator[SyncedAccount]:
    """Make an account of the mailbox in the database, ready to be synced."""
    generate_key_file(key_file)
    keys = KeyRing.load(key_file)
    settings = LiveSettings(
        Settings(
            imap=ImapSettings(allowed_ports=(port,), allow_private_hosts=True),
            store=store or StoreSettings(),
        )
    )
    key = AccountKey(TenantId("acme"), AccountId(uuid4()))
    connection = await asyncpg.connect(database_url)
    try:
        await _insert_account(connection, keys, key, mailbox, host=host, port=port)
        async with (
            open_database(database_url, pool_max=4) as database,
            MimeParser() as parser,
            session_openers(
                settings, PostgresCredentialVault(database, keys), SystemClock()
            ) as openers,
        ):
            run_job = RunJob(PostgresMailStore(database, keys, settings), openers, parser)
            yield SyncedAccount(mailbox, _job(key, f"{host}:{port}"), run_job, connection)
    finally:
        await connection.close()


async def _insert_account(
    connection: "asyncpg.Connection[asyncpg.Record]",
    keys: KeyRing,
    key: AccountKey,
    mailbox: DovecotMailbox,
    *,
    host: str,
    port: int,
) -> None:
    account_settings = {
        "host": host,
        "port": port,
        "security": "none",
        "username": mailbox.user,
    }
    await connection.execute("INSERT INTO tenants (id) VALUES ($1)", key.tenant_id)
    await connection.execute(
        """
        INSERT INTO provider_configs (tenant_id, id, provider_type, email_address, settings,
            credentials, endpoint, lease_owner, lease_until, lease_epoch)
        VALUES ($1, $2, 'imap', $3, $4, $5, $6, 'harness', 'infinity', 1)
        """,
        key.tenant_id,
        UUID(str(key.account_id)),
        mailbox.user,
        orjson.dumps(account_settings).decode(),
        seal_credentials(keys, key, {"password": Secret(mailbox.password)}),
        f"{host}:{port}",
    )


def _job(key: AccountKey, endpoint: str) -> SyncJob:
    return SyncJob(
        key=key,
        provider_type=ProviderType.IMAP,
        endpoint=endpoint,
        priority=Priority.NORMAL,
        weight=1,
        epoch=1,
        attempt=1,
        crashes=0,
        auth_refusals=0,
        due_at=datetime.now(UTC),
        last_synced_at=None,
    )
