"""Applies one page in one transaction: the steps, their order, and what they tell the feed.

Knows the schema and nothing of leases, retries or providers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from typing import Any, Final

from asyncpg import Record

from emailsync.domain.accounts import AccountKey
from emailsync.domain.folders import FolderId
from emailsync.domain.pages import (
    Adoption,
    FetchedMessage,
    FlagChange,
    PageChanges,
    PageResult,
    Placement,
    PlacementChange,
    ReadyMessage,
    ReadyPage,
    Unfetchable,
)
from emailsync.loop_rounds import Rounds
from emailsync.store.database import Connection, is_data_error
from emailsync.store.inserting import Inserted, Inserter
from emailsync.store.queries import load_queries
from emailsync.store.rows import (
    LARGE_RAW_BYTES,
    attachment_columns,
    columns_of,
    cursor_columns,
    flag_row,
    folders_of,
    is_large,
    message_columns,
    placement_columns,
)
from emailsync.store.text import pg_line

SQL: Final = load_queries("messages", "pages")
ADOPTION_GRACE_DAYS: Final = 7  #: a deleted message that comes back within them keeps its row

CREATED: Final = "created"
UPDATED: Final = "updated"
DELETED: Final = "deleted"
Kinds = dict[int, str]  #: message id -> kind of its change
BESIDE_MARKS: Final = {field.name for field in fields(PageChanges)} - {
    "cursors",
    "account_cursor",
    "unchecked",
}


class PageWriter:
    """Writes for one account in one transaction, which holds the account's lease."""

    def __init__(
        self,
        connection: Connection,
        key: AccountKey,
        *,
        keep_raw: bool,
        careful: bool,
        rounds: Rounds | None = None,
    ) -> None:
        """Take a connection inside a transaction.

        Args:
            connection: where the lease is held.
            key: the account.
            keep_raw: whether the message's own bytes are stored.
            careful: a message was refused before: find it by halves and put it aside.
            rounds: in which all writers of the daemon encode what they insert.
        """
        self._connection = connection
        self._key = (key.tenant_id, key.account_id)
        self._keep_raw = keep_raw
        self._careful = careful
        self._inserter = Inserter(connection, key, keep_raw=keep_raw, rounds=rounds or Rounds())
        self._kinds: Kinds = {}
        self._recorded: set[int] = set()  #: the feed has them as created
        self._quarantined = 0

    async def insert_new(self, page: ReadyPage) -> bool:
        """Store the messages of a page that `is_all_new`; return whether they were indeed.

        If not, nothing that is stored already was touched, and `write` has to follow.
        """
        messages = _by_remote_id(page.messages)
        inserted = await self._insert(messages, *_may_take_over(messages))
        self._kinds = dict.fromkeys(inserted.ids, CREATED)
        return len(inserted.complete) == len(messages)

    async def is_overtaken(self, page: ReadyPage) -> bool:
        """Return whether rows that the page should have taken over vanished during `insert_new`.

        Then what that did has to be undone.
        """
        wanted = _may_take_over(_by_remote_id(page.messages))
        return bool(await self._connection.fetchval(SQL["has_vanished"], *self._key, *wanted))

    async def finish_new(self, page: ReadyPage) -> PageResult:
        """Do what is left of a page whose messages were all stored by `insert_new`."""
        await self._save_marks(page.changes)
        return self._result()

    async def write(self, page: ReadyPage) -> PageResult:
        """Apply the page; a page applied before changes nothing."""
        changes = page.changes
        await self._remove(changes)
        if page.messages:
            store = self._store_or_quarantine if self._careful else self._store
            self._kinds = await store(_by_remote_id(page.messages)) | self._kinds
        await self._rearrange(changes)
        if changes.settle or changes.settled:
            names = None if changes.settle else list(changes.settled)
            self._tell(DELETED, await self._fetch("settle", *self._key, names))
        await self._save_marks(changes)
        stored_count = None
        if changes.check:
            stored_count = await self._connection.fetchval(
                SQL["check_folder"], *self._key, changes.check.folder_id, changes.check.remote_count
            )
        if changes.compared:
            await self._fetch("note_comparisons", *self._key, list(changes.compared))
        return await self._conclude(stored_count)

    async def unplace(self, ids: Iterable[int]) -> None:
        """Sort out messages that lost a placement: detached without any other, else updated."""
        if affected := set(ids):
            orphans = await self._fetch("detach_orphans", self._key[0], list(affected))
            self._tell(UPDATED, affected.difference(row["id"] for row in orphans))

    async def record_changes(self) -> None:
        """Write the change feed: one row a message, whatever happened to it in between."""
        news = {
            message: kind
            for message, kind in self._kinds.items()
            if kind != CREATED or message not in self._recorded
        }
        if news:
            await self._fetch("record_changes", *self._key, list(news), list(news.values()))

    async def _conclude(self, stored_count: int | None) -> PageResult:
        await self.record_changes()
        return self._result(stored_count)

    def _result(self, stored_count: int | None = None) -> PageResult:
        kinds = list(self._kinds.values())
        return PageResult(
            created=kinds.count(CREATED),
            updated=kinds.count(UPDATED),
            deleted=kinds.count(DELETED),
            quarantined=self._quarantined,
            stored_count=stored_count,
        )

    async def _remove(self, changes: PageChanges) -> None:
        """What vanished goes first, so that what arrives can take it over."""
        if changes.new_generation is not None:
            await self._fetch("start_generation", *self._key, changes.new_generation)
        if changes.removed:
            live = await self._live_ids(changes.removed)
            ids = list(live.values())
            await self._fetch("remove_messages", self._key[0], ids)
            await self._fetch("detach_orphans", self._key[0], ids)
            names = list(changes.removed)
            await self._fetch("forget_quarantined_messages", *self._key, names)
        for folder, uids in changes.removed_from.items():
            where = (self._key[0], folder, list(uids))
            gone = await self._fetch("remove_uids", *where)
            await self.unplace(row["message_id"] for row in gone)
            await self._fetch("forget_quarantined_uids", *where)
        for folder, left in changes.left.items():
            whence = (*self._key, folder, list(left))
            gone = await self._fetch("leave_folder", *whence)
            await self.unplace(row["message_id"] for row in gone)
            await self._fetch("forget_quarantined_in_folder", *whence)

    async def _rearrange(self, changes: PageChanges) -> None:
        """What is known already gets its new names, places and flags."""
        if changes.adoptions:
            await self._adopt(changes.adoptions)
        if changes.placements:
            await self._move(changes.placements)
        if changes.retire_generation is not None:
            where = (self._key[0], changes.retire_generation)
            retired = await self._fetch("retire_generation", *where)
            await self.unplace(row["message_id"] for row in retired)
        if changes.flags:
            await self._flag(changes.flags)
        if changes.unfetchable:
            await self._put_aside_unfetchable(changes.unfetchable)

    async def _insert(self, messages: Sequence[ReadyMessage], *vanished: Sequence[Any]) -> Inserted:
        inserted = await self._inserter.insert(messages, *vanished)
        self._recorded.update(inserted.ids)
        return inserted

    async def _store(self, messages: Sequence[ReadyMessage]) -> Kinds:
        """Store messages: new ones in one statement, the rest only where it differs."""
        kinds = await self._take_over_vanished(messages)
        inserted = await self._insert(messages)
        kinds |= dict.fromkeys(inserted.ids, CREATED)
        known = [item for item in messages if item.fetched.remote_id not in inserted.complete]
        if known:
            touched = await self._update(known)
            kinds = dict.fromkeys(touched, UPDATED) | kinds
        if self._keep_raw:
            for message in filter(is_large, messages):
                await self._store_large_raw(message.fetched)
        return kinds

    async def _store_or_quarantine(self, messages: Sequence[ReadyMessage]) -> Kinds:
        """Store what can be stored: halve what was refused down to the messages at fault."""
        try:
            async with self._connection.transaction():
                return await self._store(messages)
        except Exception as error:
            if not is_data_error(error):
                raise
            if len(messages) == 1:
                await self._put_aside_refused(messages[0], error)
                return {}
        middle = len(messages) // 2
        first = await self._store_or_quarantine(messages[:middle])
        return first | await self._store_or_quarantine(messages[middle:])

    async def _store_large_raw(self, fetched: FetchedMessage) -> None:
        missing = await self._fetch("lacks_raw", *self._key, fetched.remote_id)
        for row in missing:
            where, raw = (self._key[0], row["id"]), memoryview(fetched.raw or b"")
            for number, start in enumerate(range(0, len(raw), LARGE_RAW_BYTES)):
                piece = raw[start : start + LARGE_RAW_BYTES]
                await self._fetch("add_raw_piece", *where, number, piece)
            await self._fetch("join_raw_pieces", *where)

    async def _take_over_vanished(self, messages: Sequence[ReadyMessage]) -> Kinds:
        """Give arriving messages the rows they had before, known by their bytes or their name."""
        taken: list[Record] = []
        if arriving := _adopting(messages):
            columns = columns_of(arriving, 2)
            taken += await self._fetch("adopt_vanished", *self._key, *columns, ADOPTION_GRACE_DAYS)
        if names := _returning(messages):
            taken += await self._fetch("revive", *self._key, names, True)
        return _kinds_of_adopted(taken)

    async def _update(self, messages: Sequence[ReadyMessage]) -> set[int]:
        """Bring messages that are live already to this state; return those that differed."""
        ids = await self._live_ids(message.fetched.remote_id for message in messages)
        columns = message_columns(messages, keep_raw=self._keep_raw)
        changed = await self._fetch("update_messages", *self._key, *columns)
        parts = {ids[item.fetched.remote_id]: item.parsed.attachments for item in messages}
        attached = await self._fetch(
            "replace_attachments", self._key[0], list(parts), *attachment_columns(parts)
        )
        places = {ids[item.fetched.remote_id]: item.fetched.placements for item in messages}
        moved = await self._place(places)
        return {row["id"] for row in changed} | {row["message_id"] for row in attached} | moved

    async def _adopt(self, adoptions: Sequence[Adoption]) -> None:
        unique = {item.message_id: item for item in adoptions}.values()
        rows = ((item.message_id, item.remote_id, *flag_row(item.flags)) for item in unique)
        taken = await self._fetch("adopt_known", *self._key, *columns_of(rows, 7))
        ids = await self._live_ids(item.remote_id for item in unique)
        # Where another row has the name already, this one is left to be retired.
        moved = await self._place(
            {
                item.message_id: item.placements
                for item in unique
                if ids.get(item.remote_id) == item.message_id
            }
        )
        self._tell(UPDATED, moved)
        self._kinds |= _kinds_of_adopted(taken)

    async def _move(self, moves: Sequence[PlacementChange]) -> None:
        placed = [move.remote_id for move in moves if move.placements]
        self._tell(UPDATED, await self._fetch("revive", *self._key, placed, False))
        ids = await self._live_ids(move.remote_id for move in moves)
        places = {ids[move.remote_id]: move.placements for move in moves if move.remote_id in ids}
        await self.unplace(await self._place(places))

    async def _place(self, places: Mapping[int, Sequence[Placement]]) -> set[int]:
        """Let the messages lie exactly there; return them where they did not.

        Who had one of the UIDs before is sorted out on the way.
        """
        columns = placement_columns(places)
        cleared = await self._fetch("clear_placements", self._key[0], list(places), *columns)
        added = await self._fetch("add_placements", self._key[0], *columns)
        lost = {row["message_id"] for row in cleared}
        await self.unplace(lost.difference(places))
        return {row["message_id"] for row in added} | lost.intersection(places)

    async def _flag(self, changes: Sequence[FlagChange]) -> None:
        unique = {change.remote_id: change for change in changes}.values()
        rows = ((change.remote_id, *flag_row(change.flags)) for change in unique)
        self._tell(UPDATED, await self._fetch("update_flags", *self._key, *columns_of(rows, 6)))

    async def _put_aside_refused(self, message: ReadyMessage, error: Exception) -> None:
        fetched = message.fetched
        reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        await self._quarantine(fetched.remote_id, fetched.placements, "store", reason, fetched.raw)

    async def _put_aside_unfetchable(self, items: Sequence[Unfetchable]) -> None:
        reasons = {item.remote_id: item.reason for item in items}
        for remote_id, reason in reasons.items():
            placements = [item.placement for item in items if item.remote_id == remote_id]
            await self._quarantine(remote_id, placements, "fetch", reason, None)

    async def _quarantine(
        self,
        remote_id: str,
        placements: Sequence[Placement],
        stage: str,
        reason: str,
        raw: bytes | None,
    ) -> None:
        self._quarantined += 1
        uids = folders_of(placements or [Placement(FolderId(0))])
        where = (remote_id, list(uids), list(uids.values()))
        await self._fetch("quarantine", *self._key, *where, stage, pg_line(reason), raw)

    async def _save_marks(self, changes: PageChanges) -> None:
        """Store where the account stands, and what is left to do."""
        if changes.cursors:
            await self._fetch("save_cursors", *self._key, *cursor_columns(changes.cursors))
        if changes.account_cursor:
            account = astuple(changes.account_cursor)
            await self._fetch("save_account_cursor", *self._key, *account)
        if changes.unchecked:
            await self._fetch("mark_unchecked", *self._key, list(changes.unchecked))

    async def _live_ids(self, remote_ids: Iterable[str]) -> dict[str, int]:
        rows = await self._fetch("live_ids", *self._key, list(remote_ids))
        return {row["remote_id"]: row["id"] for row in rows}

    async def _fetch(self, name: str, *values: Any) -> list[Record]:
        return await self._connection.fetch(SQL[name], *values)

    def _tell(self, kind: str, messages: Iterable[int | Record]) -> None:
        """Remember a change; a message created in this transaction stays 'created'."""
        for message in messages:
            number = message if isinstance(message, int) else message["id"]
            if kind == DELETED or number not in self._kinds:
                self._kinds[number] = kind


def is_all_new(page: ReadyPage) -> bool:
    """Tell whether the page seems to bring new messages and nothing else, as nearly all do."""
    return (
        bool(page.messages)
        and not any(getattr(page.changes, name) for name in BESIDE_MARKS)
        and not any(map(is_large, page.messages))
    )


def _by_remote_id(messages: Iterable[ReadyMessage]) -> Sequence[ReadyMessage]:
    """Return each message once; named twice, the last one counts."""
    return list({message.fetched.remote_id: message for message in messages}.values())


def _adopting(messages: Iterable[ReadyMessage]) -> Sequence[tuple[str, bytes]]:
    """Return name and hash of those that may take over a vanished row."""
    return [
        (message.fetched.remote_id, message.raw_sha256)
        for message in messages
        if message.fetched.adopts and message.raw_sha256 is not None
    ]


def _may_take_over(messages: Sequence[ReadyMessage]) -> tuple[Sequence[bytes], Sequence[str]]:
    """Return hashes and names of the vanished rows that would be theirs."""
    return [raw_sha256 for _, raw_sha256 in _adopting(messages)], _returning(messages)


def _returning(messages: Iterable[ReadyMessage]) -> Sequence[str]:
    """Return the names that mean the same message for ever."""
    return [message.fetched.remote_id for message in messages if not message.fetched.adopts]


def _kinds_of_adopted(rows: Iterable[Record]) -> Kinds:
    """Whoever follows the feed saw a deleted row go, but never a detached one."""
    return {row["id"]: CREATED if row["was_deleted"] else UPDATED for row in rows}
