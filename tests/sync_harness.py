"""One IMAP account synced in this process, with the mailbox behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from dovecot_mailbox import DovecotMailbox, Snapshot, StoredMessage
from emailsync.config import ImapSettings, LiveSettings, Settings, StoreSettings
from emailsync.crypto import Secret
from emailsync.domain.accounts import ProviderType
from sync_rig import AccountRow, SyncRig, sync_rig


@dataclass(frozen=True)
class SyncedAccount(SyncRig):
    """An account with the mailbox behind it, and what the database says of both."""

    mailbox: DovecotMailbox

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
    settings = LiveSettings(
        Settings(
            imap=ImapSettings(allowed_ports=(port,), allow_private_hosts=True),
            store=store or StoreSettings(),
        )
    )
    row = AccountRow(
        provider_type=ProviderType.IMAP,
        email_address=mailbox.user,
        settings={"host": host, "port": port, "security": "none", "username": mailbox.user},
        credentials={"password": Secret(mailbox.password)},
        endpoint=f"{host}:{port}",
    )
    async with sync_rig(database_url, row, settings=settings, key_file=key_file) as rig:
        yield SyncedAccount(rig.job, rig.run_job, rig.connection, mailbox)
