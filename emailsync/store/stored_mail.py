"""What a session reads of its account, and the folder listing that it writes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asyncpg import Record

from emailsync.config import LiveSettings
from emailsync.domain.accounts import AccountKey, Lease
from emailsync.domain.errors import LeaseLost
from emailsync.domain.folders import (
    FolderChanges,
    FolderCursor,
    FolderId,
    FolderRename,
    FolderRole,
    RemoteFolder,
    StoredFolder,
)
from emailsync.domain.mail import Flags
from emailsync.loop_rounds import PIECE, in_pieces
from emailsync.ports import Fingerprint, StoredMessage, StoredPlacement
from emailsync.store.database import Connection, Database
from emailsync.store.page_writer import PageWriter
from emailsync.store.queries import load_queries
from emailsync.store.rows import columns_of
from emailsync.store.text import pg_text

SQL: Final = load_queries("folders", "pages")


async def hold_lease(connection: Connection, lease: Lease, *, lease_s: int) -> None:
    """Keep the account from being claimed, changed or removed until the transaction ends.

    A lease of `lease_s` that has lost more than half of them begins anew.

    Raises:
        LeaseLost: the epoch moved on, or the account is gone.
    """
    values = lease.key.tenant_id, lease.key.account_id, lease.epoch, lease_s
    held = await connection.fetchval(SQL["hold_lease"], *values)
    if held is None:
        raise LeaseLost("the account was claimed by somebody else, changed or removed")


@dataclass(frozen=True, slots=True)
class PostgresStoredMail:
    """The `StoredMail` of one lease."""

    database: Database
    lease: Lease
    settings: LiveSettings

    async def folders(self) -> Sequence[StoredFolder]:
        """Return all live folders, ordered by path."""
        async with self.database.connection() as connection:
            return await _folders(connection, self.lease.key)

    async def save_folders(self, changes: FolderChanges) -> Sequence[StoredFolder]:
        """Apply a listing in one fenced transaction; a listing without news writes no row."""

        async def work(connection: Connection) -> Sequence[StoredFolder]:
            lease_s = self.settings.current.cluster.lease_s
            await hold_lease(connection, self.lease, lease_s=lease_s)
            writer = _FolderWriter(connection, self.lease.key)
            await writer.remove(changes.gone)
            await writer.rename(changes.renamed)
            stored = await _folders(connection, self.lease.key)
            news = _news(changes.seen, stored)
            await writer.save(news)
            await writer.count_missing(changes.missing)
            if news or changes.missing:
                return await _folders(connection, self.lease.key)
            return stored

        return await self.database.transact(work)

    async def placements(
        self, folder: FolderId, *, from_uid: int, limit: int
    ) -> Sequence[StoredPlacement]:
        """Return up to `limit` placements with uid >= `from_uid`, ascending by uid."""
        rows = await self._of_tenant("placements", folder, from_uid, limit)
        return [StoredPlacement(row["message_id"], row["uid"], _flags(row)) for row in rows]

    async def fingerprints(
        self, folder: FolderId, *, uids: Collection[int] | None
    ) -> Sequence[Fingerprint]:
        """Return the fingerprints of these UIDs, or with None of all that have lost their uid."""
        wanted = None if uids is None else list(uids)
        return [Fingerprint(*row) for row in await self._of_tenant("fingerprints", folder, wanted)]

    async def quarantined_uids(self, folder: FolderId) -> Sequence[int]:
        """Return the UIDs of this folder that are quarantined instead of stored."""
        return [row["uid"] for row in await self._of_account("quarantined_uids", folder)]

    async def lookup(self, remote_ids: Collection[str]) -> Mapping[str, StoredMessage]:
        """Return those of these messages that are stored and not deleted, by remote id."""
        rows = await self._of_account("lookup", list(remote_ids))
        return {row["remote_id"]: _stored_message(row) for row in rows}

    async def inventory(
        self, folder: FolderId | None, *, after: str, limit: int
    ) -> Sequence[StoredMessage]:
        """Return up to `limit` messages behind `after`, of a folder or of the account."""
        if folder is None:
            rows = await self._of_account("inventory", after, limit)
        else:
            rows = await self._of_account("folder_inventory", after, limit, folder)
        return [_stored_message(row) for row in rows]

    async def detached(self, *, after: str, limit: int) -> Sequence[str]:
        """Return remote ids of messages that lie in no folder, behind `after`."""
        return [row["remote_id"] for row in await self._of_account("detached", after, limit)]

    async def quarantined_ids(self) -> Sequence[str]:
        """Return the remote ids of the account that are quarantined instead of stored."""
        return [row["remote_id"] for row in await self._of_account("quarantined_ids")]

    async def comparison_due(self, *, but: Collection[FolderId]) -> FolderId | None:
        """Return the folder that is to be compared in full next; None: it is time for none."""
        rows = await self._of_account("comparison_due", list(but))
        return FolderId(rows[0]["id"]) if rows else None

    async def _of_account(self, name: str, *values: Any) -> list[Record]:
        return await self._of_tenant(name, self.lease.key.account_id, *values)

    async def _of_tenant(self, name: str, *values: Any) -> list[Record]:
        async with self.database.connection() as connection:
            return await connection.fetch(SQL[name], self.lease.key.tenant_id, *values)


class _FolderWriter:
    """The parts of one listing, inside the transaction that holds the lease."""

    def __init__(self, connection: Connection, key: AccountKey) -> None:
        self._connection = connection
        self._key = key

    async def remove(self, gone: Sequence[FolderId]) -> None:
        """Remove folders with their placements; messages that lie nowhere else are detached."""
        if gone:
            emptied = await self._fetch("empty_folders", list(gone))
            writer = PageWriter(self._connection, self._key, keep_raw=False, careful=False)
            await writer.unplace(row["message_id"] for row in emptied)
            await writer.record_changes()
            await self._fetch("delete_folders", list(gone))

    async def rename(self, renames: Sequence[FolderRename]) -> None:
        """Rename folders, also in a ring."""
        if renames:
            rows = ((item.folder_id, *_folder_row(item.remote)) for item in renames)
            columns = columns_of(rows, 4)
            await self._fetch("free_names", columns[0])
            await self._fetch("rename_folders", *columns)

    async def save(self, news: Sequence[RemoteFolder]) -> None:
        """Add or update folders."""
        for start in range(0, len(news), PIECE):
            rows = map(_folder_row, news[start : start + PIECE])
            await self._fetch("save_seen", *columns_of(rows, 3))

    async def count_missing(self, missing: Sequence[FolderId]) -> None:
        """Note that a listing did not show these."""
        if missing:
            await self._fetch("count_missing", list(missing))

    async def _fetch(self, name: str, *values: Any) -> list[Record]:
        key = self._key
        return await self._connection.fetch(SQL[name], key.tenant_id, key.account_id, *values)


def _news(seen: Sequence[RemoteFolder], stored: Sequence[StoredFolder]) -> list[RemoteFolder]:
    """Return what is new or different; a name listed twice counts once."""
    known = {
        (folder.remote_id, folder.path, folder.role)
        for folder in stored
        if not folder.missing_count
    }
    unique = {_folder_row(folder)[0]: folder for folder in seen}.values()
    return [folder for folder in unique if _folder_row(folder) not in known]


def _folder_row(folder: RemoteFolder) -> tuple[str, str, FolderRole | None]:
    return pg_text(folder.remote_id), pg_text(folder.path), folder.role


async def _folders(connection: Connection, key: AccountKey) -> Sequence[StoredFolder]:
    rows = await connection.fetch(SQL["folders"], key.tenant_id, key.account_id)
    return await in_pieces(map(_stored_folder, rows))


def _stored_folder(row: Record) -> StoredFolder:
    return StoredFolder(
        id=FolderId(row["id"]),
        remote_id=row["remote_id"],
        path=row["path"],
        role=FolderRole(row["role"]) if row["role"] else None,
        cursor=FolderCursor(
            uid_validity=row["uid_validity"],
            uid_next=row["uid_next"],
            highest_modseq=row["highest_modseq"],
            backfill_before=row["backfill_before"],
            delta_link=row["delta_link"],
            resume_link=row["resume_link"],
            compare_link=row["compare_link"],
        ),
        stored_count=row["stored_count"],
        remote_count=row["remote_count"],
        missing_count=row["missing_count"],
        check_due=row["check_due"],
        generations=row["generations"],
        since_generation=row["since_generation"],
        quarantine_due=row["quarantine_due"],
    )


def _stored_message(row: Record) -> StoredMessage:
    folders = frozenset(map(FolderId, row["folders"]))
    return StoredMessage(row["id"], row["remote_id"], _flags(row), folders)


def _flags(row: Record) -> Flags:
    return Flags(
        is_read=row["is_read"],
        is_starred=row["is_starred"],
        is_answered=row["is_answered"],
        is_draft=row["is_draft"],
        keywords=tuple(row["keywords"]),
    )
