"""An account of the contract: the real session, parser and store, held against its mailbox.

What is stored is read back in the words of the contract; every page can be watched and followed
by a kill. Knows no provider.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import asyncpg

from contract.mailbox_under_test import Mail, MailboxUnderTest
from emailsync.domain.accounts import Lease
from emailsync.domain.folders import FolderId
from emailsync.domain.jobs import SyncJob
from emailsync.domain.pages import FolderCheck, PageResult, ReadyPage
from emailsync.ports import Account, MailSession, MailStore, SessionOpener, StoredMail, Turn
from emailsync.sync.pipeline import Pipeline
from emailsync.sync.progress import Progress
from emailsync.sync.run_job import RunJob
from sync_rig import SyncRig, WallClock

ARCHIVE = "Archive"  #: no folder of Gmail's, so it has no count
NO_TIME = timedelta()  #: a quantum that is over after one page
PER_MESSAGE = {
    "messages": "id",
    "message_folders": "message_id",
    "attachments": "message_id",
    "changes": "message_id",
}


class Row(NamedTuple):
    """A row of any table; `message` where it is part of one."""

    table: str
    ctid: str
    xmin: str
    message: int | None


@dataclass(frozen=True, slots=True)
class StoredMailbox:
    """What is stored, by the ids of its rows."""

    folders: Mapping[int, tuple[str, str | None]]  #: path and role
    mail: Mapping[int, Mail]
    places: Mapping[int, tuple[str, frozenset[int]]]  #: name and folders of each message


@dataclass(slots=True)
class WatchedStore:
    """The store, and whoever looks at the pages once they are committed."""

    store: MailStore
    after_page: Callable[[int], None]  #: given how many there are so far
    pages: list[ReadyPage] = field(default_factory=list)

    async def load_account(self, job: SyncJob) -> Account:
        """Return the account; see MailStore."""
        return await self.store.load_account(job)

    def stored_mail(self, lease: Lease) -> StoredMail:
        """Return the session's view; see MailStore."""
        return self.store.stored_mail(lease)

    async def apply(self, lease: Lease, page: ReadyPage, turn: Turn | None = None) -> PageResult:
        """Write the page, then let it be seen; see MailStore."""
        result = await self.store.apply(lease, page, turn)
        self.pages.append(page)
        self.after_page(len(self.pages))
        return result


@dataclass(frozen=True, slots=True)
class AccountUnderTest:
    """One account and its mailbox."""

    rig: SyncRig
    mailbox: MailboxUnderTest

    async def sync(self) -> None:
        """Bring the account up to date, in one go."""
        await self.rig.sync()

    async def slice(self) -> bool:
        """Take one page with a session of its own; return whether there is more."""
        return await self.rig.run_once(NO_TIME)

    async def watched(
        self, after_page: Callable[[int], None] = lambda _: None
    ) -> Sequence[ReadyPage]:
        """Sync and return the pages as they were stored."""
        run_job = self.rig.run_job
        store = WatchedStore(run_job._store, after_page)
        watched = RunJob(store, run_job._openers, run_job._parser)
        await watched(self.rig.job, Progress.start(WallClock()))
        return store.pages

    async def reconcile(self, path: str) -> FolderCheck | None:
        """Sync, then compare one folder in full; return the check that came last."""
        folder = FolderId(await self._folder(path))
        store = WatchedStore(self.rig.run_job._store, lambda _: None)
        lease = self.rig.job.lease
        pipeline = Pipeline(
            store, self.rig.run_job._parser, lease, Progress.start(WallClock()), careful=False
        )
        async with self.session(await self.account()) as session:
            await pipeline.run(session.pages())
            store.pages.clear()
            await pipeline.run(session.reconcile(folder))
        return store.pages[-1].changes.check

    def session(self, account: Account) -> AbstractAsyncContextManager[MailSession]:
        """Open a session by hand."""
        stored = self.rig.run_job._store.stored_mail(self.rig.job.lease)
        return self.opener.open(account, stored)

    @property
    def opener(self) -> SessionOpener:
        return self.rig.run_job._openers[self.rig.job.provider_type]

    async def account(self) -> Account:
        """Return the account as a session needs it."""
        return await self.rig.run_job._store.load_account(self.rig.job)

    async def forget(self) -> None:
        """Make it an account that was never synced."""
        await self.rig.connection.execute("TRUNCATE folders, messages, changes, quarantine CASCADE")
        await self.rig.connection.execute(
            "UPDATE provider_configs SET last_sync_uid = NULL, last_history_id = NULL,"
            " last_delta_link = NULL, resume_token = NULL"
        )

    async def assert_equal(self) -> None:
        """Hold the database against the mailbox: folders, roles, placements, bytes, flags."""
        stored, there = await self.stored(), self.mailbox.truth()
        assert dict(stored.folders.values()) == there.folders
        assert len(set(stored.mail.values())) == len(stored.mail), "a message is stored twice"
        assert not there.mail.difference(stored.mail.values()), "this is not stored"
        assert not set(stored.mail.values()).difference(there.mail), "this is not there"
        assert await self.rig.count("quarantine") == 0

    async def stored(self) -> StoredMailbox:
        """Return what is stored."""
        folders = await self.rig.connection.fetch("SELECT id, path, role FROM folders")
        rows = await self.rig.connection.fetch(
            """
            SELECT id, remote_id, is_read, is_starred, is_answered, is_draft,
                encode(sha256(raw), 'hex') AS sha256, raw_sha256 = sha256(raw) AS hash_is_right,
                min(uid)::text AS uid, array_remove(array_agg(folder_id), NULL) AS folders
            FROM messages AS m
            LEFT JOIN message_folders AS mf ON mf.tenant_id = m.tenant_id AND mf.message_id = m.id
            WHERE deleted_at IS NULL GROUP BY m.tenant_id, id
            """
        )
        paths = {row["id"]: row["path"] for row in folders}
        return StoredMailbox(
            {row["id"]: (row["path"], row["role"]) for row in folders},
            {row["id"]: _mail(row, paths) for row in rows},
            {row["id"]: (row["remote_id"], frozenset(row["folders"])) for row in rows},
        )

    async def rows(self) -> frozenset[Row]:
        """Return the version of every row of every table."""
        tables = await self.rig.connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        found: set[Row] = set()
        for (table,) in tables:
            message = PER_MESSAGE.get(table, "NULL")
            rows = await self.rig.connection.fetch(
                f"SELECT ctid::text, xmin::text, {message} AS message FROM {table}"  # noqa: S608 - the schema's own names
            )
            found.update(Row(table, row["ctid"], row["xmin"], row["message"]) for row in rows)
        return frozenset(found)

    async def feed(self, after: int = 0) -> Counter[tuple[int, str]]:
        """Return what the change feed tells behind a place, and how often."""
        rows = await self.rig.connection.fetch(
            "SELECT message_id, kind FROM changes WHERE seq > $1", after
        )
        return Counter((row["message_id"], row["kind"]) for row in rows)

    async def end_of_feed(self) -> int:
        """Return the place of the feed's last row."""
        return int(await self.rig.connection.fetchval("SELECT coalesce(max(seq), 0) FROM changes"))

    async def counts(self) -> Mapping[str, tuple[int | None, int]]:
        """Return the provider's count and ours at the last check of each folder, by path."""
        rows = await self.rig.connection.fetch(
            "SELECT path, remote_count, stored_count FROM folders"
        )
        return {row["path"]: (row["remote_count"], row["stored_count"]) for row in rows}

    async def assert_counted(self) -> None:
        """Hold the counts of every folder, as last checked, against the mailbox."""
        truth = self.mailbox.truth()
        counted = {path: pair for path, pair in (await self.counts()).items() if path != ARCHIVE}
        assert counted == {path: (truth.count(path),) * 2 for path in counted}

    async def execute(self, statement: str, *values: Any) -> None:
        """Change the database behind the store's back."""
        await self.rig.connection.execute(statement, *values)

    async def _folder(self, path: str) -> int:
        return int(
            await self.rig.connection.fetchval("SELECT id FROM folders WHERE path = $1", path)
        )


def _mail(row: asyncpg.Record, paths: Mapping[int, str]) -> Mail:
    assert row["hash_is_right"]
    return Mail(
        name=row["uid"] or row["remote_id"],
        sha256=row["sha256"],
        folders=frozenset(paths[folder] for folder in row["folders"]),
        is_read=row["is_read"],
        is_starred=row["is_starred"],
        is_answered=row["is_answered"],
        is_draft=row["is_draft"],
    )


def changes_between(before: StoredMailbox, after: StoredMailbox) -> Counter[tuple[int, str]]:
    """Return what the feed should tell of the way from one state to the other, each once.

    A folder's new name changes no message; what the provider calls it now is a change.
    """
    created = [(message, "created") for message in after.mail.keys() - before.mail.keys()]
    deleted = [(message, "deleted") for message in before.mail.keys() - after.mail.keys()]
    updated = [
        (message, "updated")
        for message in before.mail.keys() & after.mail.keys()
        if _visible(before, message) != _visible(after, message)
    ]
    return Counter(created + deleted + updated)


def _visible(state: StoredMailbox, message: int) -> tuple[Any, ...]:
    mail = state.mail[message]
    flags = (mail.is_read, mail.is_starred, mail.is_answered, mail.is_draft)
    return *state.places[message], mail.sha256, flags
