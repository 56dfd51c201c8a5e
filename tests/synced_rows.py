"""One account synced in this process: the real session, parser and store, no scheduler.

The account's row is leased once and for all, so `sync` may be called again and again. What is held
against the database is the business of each provider's harness.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
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
from emailsync.ports import CredentialVault, SessionOpener
from emailsync.store.credential_vault import PostgresCredentialVault
from emailsync.store.database import open_database
from emailsync.store.mail import PostgresMailStore
from emailsync.store.sealing import seal_credentials
from emailsync.sync.progress import QUANTUM, Progress
from emailsync.sync.run_job import RunJob

SYNCED_TABLES = ("folders", "messages", "message_folders", "attachments", "changes", "quarantine")

Openers = AbstractAsyncContextManager[Mapping[ProviderType, SessionOpener]]


class WallClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class SyncedRows:
    """An account, and what the database says of it."""

    job: SyncJob
    run_job: RunJob
    connection: "asyncpg.Connection[asyncpg.Record]"

    async def sync(self, quantum: timedelta = QUANTUM) -> SyncCounts:
        """Run the job until the account is up to date; return what the last run changed."""
        while True:
            progress = Progress.start(WallClock(), quantum)
            if not await self.run_job(self.job, progress):
                return progress.counts

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


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRow:
    """An account as an operator would add it."""

    provider_type: ProviderType
    email_address: str
    settings: Mapping[str, Any]
    credentials: Mapping[str, str]
    endpoint: str


@asynccontextmanager
async def synced_rows(
    database_url: str,
    account: AccountRow,
    settings: LiveSettings,
    openers: Callable[[CredentialVault], Openers],
    *,
    key_file: Path,
) -> AsyncIterator[SyncedRows]:
    """Store the account, ready to be synced by the openers."""
    generate_key_file(key_file)
    keys = KeyRing.load(key_file)
    key = AccountKey(TenantId("acme"), AccountId(uuid4()))
    connection = await asyncpg.connect(database_url)
    try:
        await _insert(connection, keys, key, account)
        async with (
            open_database(database_url, pool_max=4) as database,
            MimeParser() as parser,
            openers(PostgresCredentialVault(database, keys)) as opened,
        ):
            run_job = RunJob(PostgresMailStore(database, keys, settings), opened, parser)
            yield SyncedRows(_job(key, account), run_job, connection)
    finally:
        await connection.close()


async def _insert(
    connection: "asyncpg.Connection[asyncpg.Record]",
    keys: KeyRing,
    key: AccountKey,
    account: AccountRow,
) -> None:
    await connection.execute("INSERT INTO tenants (id) VALUES ($1)", key.tenant_id)
    secrets = {name: Secret(value) for name, value in account.credentials.items()}
    await connection.execute(
        """
        INSERT INTO provider_configs (tenant_id, id, provider_type, email_address, settings,
            credentials, endpoint, lease_owner, lease_until, lease_epoch)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 'harness', 'infinity', 1)
        """,
        key.tenant_id,
        UUID(str(key.account_id)),
        account.provider_type,
        account.email_address,
        orjson.dumps(account.settings).decode(),
        seal_credentials(keys, key, secrets),
        account.endpoint,
    )


def _job(key: AccountKey, account: AccountRow) -> SyncJob:
    return SyncJob(
        key=key,
        provider_type=account.provider_type,
        endpoint=account.endpoint,
        priority=Priority.NORMAL,
        weight=1,
        epoch=1,
        attempt=1,
        crashes=0,
        auth_refusals=0,
        due_at=datetime.now(UTC),
        last_synced_at=None,
    )
