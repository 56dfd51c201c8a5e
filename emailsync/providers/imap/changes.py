"""What changed among a folder's stored messages: their flags, and which of them are gone.

Three ways, by what the server can do: QRESYNC tells both when the folder is selected
(RFC 7162 section 3.2.5), CONDSTORE tells the flags (section 3.1.4) and a listing the rest, and
on a plain server every message is compared. Deletions are earned: no partial listing deletes.
"""

from array import array
from bisect import bisect_left
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

from emailsync.domain.deletion_guard import needs_second_listing
from emailsync.domain.pages import FetchedPage, FlagChange, PageChanges
from emailsync.domain.uid_set import UidSet
from emailsync.ports import StoredMail, StoredPlacement
from emailsync.providers.imap.connection import Examined, ImapConnection
from emailsync.providers.imap.fetching import FetchedFlags
from emailsync.providers.imap.folder_state import FolderState
from emailsync.providers.imap.uid_listing import leave_out

WINDOW: Final = 5_000  #: stored messages compared at a time: bounds memory in a folder of millions
FLAGS_PER_PAGE: Final = 1_000


@dataclass(slots=True)
class FolderComparison:
    """Compares the stored messages of the selected folder with the server's."""

    connection: ImapConnection
    stored: StoredMail

    async def changes(self, state: FolderState, seen: Examined) -> AsyncGenerator[FetchedPage]:
        """Yield flag changes and removals since the cursor, then the cursor's new modseq."""
        known_modseq, modseq = state.cursor.highest_modseq, seen.highest_modseq
        if known_modseq is None or modseq is None or modseq < known_modseq:
            # No modseq to go by, or one that went back: what changed since cannot be asked for.
            gone = await self._missing(state)
            pages = self.compare_flags(state)
        elif seen.vanished is not None:
            gone = await self._vanished(state, seen.vanished)
            pages = self.news_of(state, seen.changed)
        else:
            flags = await self._flags_since(state, known_modseq) if modseq > known_modseq else []
            gone = await self._missing(state)
            pages = self.news_of(state, flags)
        async for page in pages:
            yield page
        if gone:
            state.touched = True
            yield FetchedPage(changes=PageChanges(removed_from={state.id: gone}))
        moved = state.move(highest_modseq=modseq)
        if moved:
            yield FetchedPage(changes=PageChanges(cursors=moved))

    async def news_of(
        self, state: FolderState, flags: Sequence[FetchedFlags]
    ) -> AsyncGenerator[FetchedPage]:
        """Yield those of these flags that are not stored as they are.

        The cursor moves behind the last of them: a session that is over before goes through all
        of them again, and has to get further.
        """
        for start in range(0, len(flags), FLAGS_PER_PAGE):
            now = {
                state.name(item.uid): item.flags for item in flags[start : start + FLAGS_PER_PAGE]
            }
            known = await self.stored.lookup(now)
            changes = [
                FlagChange(name, flags_now)
                for name, flags_now in now.items()
                if name in known and known[name].flags != flags_now
            ]
            if changes:
                yield FetchedPage(changes=PageChanges(flags=changes))

    async def compare_flags(self, state: FolderState) -> AsyncGenerator[FetchedPage]:
        """Yield the flags of every stored message that differ from the server's."""
        async for window in self._windows(state):
            known = {placed.uid: placed.flags for placed in window}
            span = UidSet([(_uid(window[0]), _uid(window[-1]))])
            differing = [
                item
                async for item in self.connection.fetch_flags(span)
                if item.uid in known and known[item.uid] != item.flags
            ]
            for start in range(0, len(differing), FLAGS_PER_PAGE):
                changes = [
                    FlagChange(state.name(item.uid), item.flags)
                    for item in differing[start : start + FLAGS_PER_PAGE]
                ]
                yield FetchedPage(changes=PageChanges(flags=changes))

    async def missing_from(self, state: FolderState, listed: Sequence[int]) -> list[int]:
        """Return the stored and quarantined UIDs that a complete, sorted listing does not hold.

        Guarded: many of them are believed only after a second look.
        """
        gone = [
            uid
            async for window in self._windows(state)
            for uid in map(_uid, window)
            if not _holds(listed, uid)
        ]
        put_aside = await self.stored.quarantined_uids(state.id)
        gone += [uid for uid in put_aside if not _holds(listed, uid)]
        return await self._confirmed(state, gone)

    async def unknown_among(self, state: FolderState, listed: "array[int]") -> "array[int]":
        """Return the UIDs of a sorted listing that are neither stored nor quarantined, sorted."""
        if not listed:
            return listed
        known: set[int | None] = set(await self.stored.quarantined_uids(state.id))
        async for window in self._windows(state, listed[0], listed[-1]):
            known.update(map(_uid, window))
        return await leave_out(listed, known)

    async def listing(self) -> "array[int] | None":
        """Return all UIDs of the selected folder, sorted; None when the answer is not complete."""
        for _ in range(2):
            listed = await self.connection.search_uids()
            if len(listed) == self.connection.exists:
                return listed
            await self.connection.noop()  # the count may have moved: hear of it, then list again
        return None

    async def listing_anew(self, state: FolderState) -> "array[int] | None":
        """Open the folder once more and list it: a broken back end may have shown an empty one."""
        seen = await self.connection.examine(state.remote_id)
        if seen.uid_validity not in (None, state.cursor.uid_validity):
            return None
        return await self.listing()

    async def _missing(self, state: FolderState) -> list[int]:
        listed = await self.listing()
        return [] if listed is None else await self.missing_from(state, listed)

    async def _vanished(self, state: FolderState, vanished: UidSet) -> list[int]:
        """Return the stored UIDs among the vanished: servers name UIDs that never were."""
        if not vanished:
            return []
        gone = [
            uid
            async for window in self._windows(state, vanished.first, vanished.last)
            for uid in vanished.among([_uid(placed) for placed in window])
        ]
        return await self._confirmed(state, gone)

    async def _confirmed(self, state: FolderState, gone: list[int]) -> list[int]:
        if not needs_second_listing(len(gone), state.stored.stored_count):
            return gone
        again = await self.listing_anew(state)
        return [] if again is None else [uid for uid in gone if not _holds(again, uid)]

    async def _flags_since(self, state: FolderState, modseq: int) -> list[FetchedFlags]:
        assert state.cursor.uid_next is not None, "only a folder with a cursor is caught up"
        known = UidSet([(1, max(1, state.cursor.uid_next - 1))])
        return [item async for item in self.connection.fetch_flags(known, changed_since=modseq)]

    async def _windows(
        self, state: FolderState, first: int = 1, last: int | None = None
    ) -> AsyncGenerator[Sequence[StoredPlacement]]:
        while last is None or first <= last:
            window = await self.stored.placements(state.id, from_uid=first, limit=WINDOW)
            if window:
                yield window
            if len(window) < WINDOW:
                return
            first = _uid(window[-1]) + 1


def _uid(placed: StoredPlacement) -> int:
    assert placed.uid is not None, "placements are read by UID"
    return placed.uid


def _holds(listed: Sequence[int], uid: int) -> bool:
    at = bisect_left(listed, uid)
    return at < len(listed) and listed[at] == uid
