"""An account synced in this process: the real session, parser and store, no scheduler.

Its row is leased once and for all, so `sync` may be called again and again. Knows no provider.
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

from emailsync.config import LiveSettings
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


@dataclass(frozen=True, kw_only=True)
class AccountRow:
    """What an account's row is made of."""

    provider_type: ProviderType
    email_address: str
    settings: Mapping[str, Any]
    credentials: Mapping[str, Secret]
    endpoint: str


@dataclass(frozen=True)
class SyncRig:
    """One account: what syncs it, and what the database says of it."""

    job: SyncJob
    run_job: RunJob
    connection: "asyncpg.Connection[asyncpg.Record]"

    async def sync(self, quantum: timedelta = QUANTUM) -> SyncCounts:
        """Run the job until the account is up to date; return what the last run changed."""
        while True:
            progress = Progress.start(WallClock(), quantum)
            if not await self.run_job(self.job, progress):
                return progress.counts

    async def run_once(self, quantum: timedelta = QUANTUM) -> bool:
        """Run the job for one quantum; return whether there is more."""
        return await self.run_job(self.job, Progress.start(WallClock(), quantum))

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


@asynccontextmanager
async def sync_rig(
    database_url: str, row: AccountRow, *, settings: LiveSettings, key_file: Path
) -> AsyncIterator[SyncRig]:
    """Put an account into the database, ready to be synced."""
    generate_key_file(key_file)
    keys = KeyRing.load(key_file)
    key = AccountKey(TenantId("acme"), AccountId(uuid4()))
    connection = await asyncpg.connect(database_url)
    try:
        await _insert_account(connection, keys, key, row)
        async with (
            open_database(database_url, pool_max=4) as database,
            MimeParser() as parser,
            session_openers(
                settings, PostgresCredentialVault(database, keys), WallClock()
            ) as openers,
        ):
            run_job = RunJob(PostgresMailStore(database, keys, settings), openers, parser)
            yield SyncRig(_job(key, row), run_job, connection)
    finally:
        await connection.close()


async def _insert_account(
    connection: "asyncpg.Connection[asyncpg.Record]",
    keys: KeyRing,
    key: AccountKey,
    row: AccountRow,
) -> None:
    await connection.execute("INSERT INTO tenants (id) VALUES ($1)", key.tenant_id)
    await connection.execute(
        """
        INSERT INTO provider_configs (tenant_id, id, provider_type, email_address, settings,
            credentials, endpoint, lease_owner, lease_until, lease_epoch)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 'harness', 'infinity', 1)
        """,
        key.tenant_id,
        UUID(str(key.account_id)),
        row.provider_type.value,
        row.email_address,
        orjson.dumps(dict(row.settings)).decode(),
        seal_credentials(keys, key, row.credentials),
        row.endpoint,
    )


def _job(key: AccountKey, row: AccountRow) -> SyncJob:
    return SyncJob(
        key=key,
        provider_type=row.provider_type,
        endpoint=row.endpoint,
        priority=Priority.NORMAL,
        weight=1,
        epoch=1,
        attempt=1,
        crashes=0,
        auth_refusals=0,
        due_at=datetime.now(UTC),
        last_synced_at=None,
    )
