"""One IMAP account, synced: what goes first, and how each folder is brought up to date.

Removals everywhere come before new mail anywhere, so a message that moved is found again while
its row still waits; new mail comes before backfill; backfill goes from the newest to the oldest.
A message that lies in no folder is deleted once the small folders that are not known whole yet
have been looked through: people make a folder to move mail into it.
"""

from array import array
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from emailsync.domain.errors import FolderGone, ServerRefused
from emailsync.domain.folders import AccountCursor, FolderCursor, FolderId
from emailsync.domain.imap_plan import FolderWork, is_parked, is_unchanged, work_of
from emailsync.domain.pages import FetchedPage, FolderCheck, PageChanges, Unfetchable
from emailsync.ports import StoredMail
from emailsync.providers.imap.adoption import WINDOW, Adopter
from emailsync.providers.imap.bodies import BodyFetcher
from emailsync.providers.imap.changes import FolderComparison
from emailsync.providers.imap.connection import Examined, ImapConnection
from emailsync.providers.imap.folder_discovery import FolderDiscovery
from emailsync.providers.imap.folder_state import FolderState
from emailsync.providers.imap.uid_listing import leave_out

log = structlog.get_logger(__name__)

Step = Callable[[FolderState], AsyncGenerator[FetchedPage]]

NEW_MAIL_ROUNDS: Final = 3  #: looks for mail that arrived while new mail was fetched
DONE_SOON: Final = 2_000  #: messages of a folder: a backfill of some seconds
NOT_GIVEN: Final = "the server lists this message, but does not give it when asked"


@dataclass(slots=True)
class ImapSession:
    """A MailSession over one logged-in connection."""

    connection: ImapConnection
    stored: StoredMail
    bodies: BodyFetcher
    settles: bool  #: messages may lie in no folder: at the end those are deleted
    _states: dict[FolderId, FolderState] = field(default_factory=dict, init=False)
    _selected: FolderState | None = field(default=None, init=False)
    _refused: list[str] = field(default_factory=list, init=False)

    async def pages(self) -> AsyncGenerator[FetchedPage]:
        """Yield everything that changed; see MailSession."""
        discovery = FolderDiscovery(self.connection, self.stored)
        states = await discovery.states()
        self.settles |= discovery.removed
        self._states = {state.id: state for state in states}
        busy = [
            state
            for state in states
            if not is_unchanged(state.stored, state.status) and not self._is_parked(state)
        ]
        for step in (self._catch_up, self._fetch_new, self._retry_quarantined):
            async with aclosing(self._each(busy, step)) as pages:
                async for page in pages:
                    self.settles |= bool(page.changes.removed_from)
                    yield page
        unfinished = [state for state in busy if state.cursor.backfill_before is not None]
        soon = [state for state in unfinished if self.settles and _is_done_soon(state)]
        for states_to_fill in (soon, [state for state in unfinished if state not in soon]):
            async with aclosing(self._each(states_to_fill, self._backfill)) as pages:
                async for page in pages:
                    yield page
            if self.settles:
                self.settles = False
                yield FetchedPage(changes=PageChanges(settle=True))
        if self._refused:
            raise ServerRefused(
                f"{len(self._refused)} of {len(states)} folders failed: {self._refused[0]}"
            )

    async def reconcile(self, folder: FolderId) -> AsyncGenerator[FetchedPage]:
        """Compare one folder in full; see MailSession."""
        state = self._states.get(folder)
        if state is None or not state.is_complete:
            return  # the server does not list it now, or its backfill looks at all of it anyway
        try:
            await self._select_anew(state)
        except FolderGone:
            return  # nothing of it can be compared: the next listing tells what became of it
        comparison = FolderComparison(self.connection, self.stored)
        listed = await comparison.listing()
        if listed is None:
            return  # no complete listing to be had: the difference stays on record
        gone = await comparison.missing_from(state, listed)
        if gone:
            yield FetchedPage(changes=PageChanges(removed_from={folder: gone}))
        async for page in comparison.compare_flags(state):
            yield page
        missing = await comparison.unknown_among(state, listed)
        missing.reverse()
        async with aclosing(self._fetch_missing(state, missing)) as pages:
            async for page in pages:
                yield page
        await self.connection.noop()
        yield self._checked(FetchedPage(changes=PageChanges(compared=(folder,))), state)

    def _is_parked(self, state: FolderState) -> bool:
        parked = is_parked(state.stored)
        if parked:
            log.warning(
                "sync.folder_parked", folder_id=state.id, generations=state.stored.generations
            )
        return parked

    async def _each(self, states: Iterable[FolderState], step: Step) -> AsyncGenerator[FetchedPage]:
        """Take a step in every folder; one that fails leaves the others alone."""
        for state in states:
            if state.failed:
                continue
            try:
                async with aclosing(step(state)) as pages:
                    async for page in pages:
                        yield page
            except FolderGone as error:
                state.failed = True  # the next listing tells what became of it
                log.info("sync.folder_vanished", folder_id=state.id, reason=str(error))
            except ServerRefused as error:
                if not self.connection.is_usable:
                    raise
                state.failed = True
                self._refused.append(f"{state.stored.path}: {error}")

    async def _catch_up(self, state: FolderState) -> AsyncGenerator[FetchedPage]:
        """Bring what is stored of a folder up to date, or begin it."""
        cursor = state.cursor
        qresync = None
        if (
            self.connection.has_qresync
            and cursor.uid_validity is not None
            and cursor.highest_modseq is not None
        ):
            qresync = (cursor.uid_validity, cursor.highest_modseq)
        seen = await self._select(state, qresync)
        uid_validity = seen.uid_validity or cursor.uid_validity or 1  # some servers give none
        uid_next = seen.uid_next or await self._uid_next()
        work = work_of(cursor, uid_validity=uid_validity, uid_next=uid_next)
        if work is FolderWork.CATCH_UP:
            state.has_new = uid_next > (cursor.uid_next or 0)
            comparison = FolderComparison(self.connection, self.stored)
            async with aclosing(comparison.changes(state, seen)) as pages:
                async for page in pages:
                    yield page
            if not state.has_new and self._wants_check(state):
                yield self._checked(FetchedPage(), state)
        else:
            yield self._begun(state, seen, work, uid_validity=uid_validity, uid_next=uid_next)

    def _begun(
        self,
        state: FolderState,
        seen: Examined,
        work: FolderWork,
        *,
        uid_validity: int,
        uid_next: int,
    ) -> FetchedPage:
        """Return the page that begins a folder, or its new generation: all of it is backfill."""
        is_new_generation = work is FolderWork.NEW_GENERATION
        moved = state.move(
            uid_validity=uid_validity,
            uid_next=uid_next,
            highest_modseq=seen.highest_modseq,
            backfill_before=uid_next if seen.exists or is_new_generation else None,
        )
        new_generation = state.id if is_new_generation else None
        page = FetchedPage(changes=PageChanges(new_generation=new_generation, cursors=moved))
        return self._checked(page, state) if self._wants_check(state) else page

    async def _fetch_new(self, state: FolderState) -> AsyncGenerator[FetchedPage]:
        """Fetch what arrived since the cursor, oldest first, and check the folder's count."""
        if not state.has_new:
            return
        seen = await self._select_again(state)
        comparison = FolderComparison(self.connection, self.stored)
        for _ in range(NEW_MAIL_ROUNDS):
            first = state.cursor.uid_next or 1
            uids = await self.connection.search_uids(first)
            if not uids:
                break
            todo = await comparison.unknown_among(state, uids)  # a session was cut after some
            async with aclosing(self.bodies.pages(state, todo)) as pages:
                async for page, uid in pages:
                    yield page if uid is None else self._moved(page, state, uid_next=uid + 1)
            yield self._moved(FetchedPage(), state, uid_next=uids[-1] + 1)
            await self.connection.noop()
        if seen.uid_next is not None and seen.uid_next > (state.cursor.uid_next or 0):
            yield self._moved(FetchedPage(), state, uid_next=seen.uid_next)
        if self._wants_check(state):
            yield self._checked(FetchedPage(), state)

    async def _backfill(self, state: FolderState) -> AsyncGenerator[FetchedPage]:
        """Fetch what lay there before the folder's first sync, newest first; check the count."""
        await self._select_again(state)
        before = state.cursor.backfill_before
        assert before is not None, "only a folder with a backfill is backfilled"
        listed = await self.connection.search_uids(1, before - 1) if before > 1 else array("I")
        comparison = FolderComparison(self.connection, self.stored)
        todo = await comparison.unknown_among(state, listed)
        todo.reverse()
        waiting = await self.stored.fingerprints(state.id, uids=None)
        adopter = await Adopter.of(self.connection, waiting) if waiting else None
        async with aclosing(self._take_in(state, todo, adopter)) as pages:
            async for page in pages:
                yield page
        if adopter and adopter.waiting:  # for those the listing has to be proven whole
            again = await comparison.listing_anew(state)
            if again is None:  # the old generation stays until a listing proves what is gone
                yield self._moved(FetchedPage(), state, backfill_before=state.cursor.uid_next)
                return
            overlooked = await comparison.unknown_among(state, again)
            overlooked.reverse()
            async with aclosing(self._take_in(state, overlooked, adopter)) as pages:
                async for page in pages:
                    yield page
        yield FetchedPage(
            changes=PageChanges(
                retire_generation=state.id, cursors=state.move(backfill_before=None)
            )
        )
        self.settles |= adopter is not None
        await self.connection.noop()
        yield self._checked(FetchedPage(), state)

    async def _take_in(
        self, state: FolderState, todo: Sequence[int], adopter: Adopter | None
    ) -> AsyncGenerator[FetchedPage]:
        """Fetch these messages of the backfill, or find the waiting rows that they are.

        Each window goes all the way before the next: however long the folder and however short
        the sessions, each session gets further.
        """
        window_size = WINDOW if adopter else max(1, len(todo))
        for start in range(0, len(todo), window_size):
            left = window = todo[start : start + window_size]
            if adopter:
                adoptions, left = await adopter.recognise(state, window)
                yield FetchedPage(changes=PageChanges(adoptions=adoptions))
            async with aclosing(self.bodies.pages(state, left)) as pages:
                async for page, uid in pages:
                    yield page if uid is None else self._moved(page, state, backfill_before=uid)
            if adopter:
                yield self._moved(FetchedPage(), state, backfill_before=window[-1])

    async def _retry_quarantined(self, state: FolderState) -> AsyncGenerator[FetchedPage]:
        """Ask again, once a day, for messages that the server would not give."""
        quarantined = await self.stored.quarantined_uids(state.id) if self._may_retry(state) else ()
        if not quarantined:
            return
        await self._select_again(state)
        listed = await self.connection.search_uids(min(quarantined), max(quarantined))
        there = array("I", sorted(set(quarantined).intersection(listed), reverse=True))
        gone = sorted(set(quarantined).difference(there))
        if gone:
            yield FetchedPage(changes=PageChanges(removed_from={state.id: gone}))
        async with aclosing(self._fetch_missing(state, there)) as pages:
            async for page in pages:
                yield page
        await self.connection.noop()
        yield self._checked(FetchedPage(), state)

    def _may_retry(self, state: FolderState) -> bool:
        return state.stored.quarantine_due and state.cursor.backfill_before is None

    async def _fetch_missing(
        self, state: FolderState, missing: "array[int]"
    ) -> AsyncGenerator[FetchedPage]:
        """Fetch what a comparison missed; what is listed and never given is quarantined."""
        given: set[int | None] = set()
        async with aclosing(self.bodies.pages(state, missing)) as pages:
            async for page, _ in pages:
                given.update(message.placements[0].uid for message in page.messages)
                given.update(refused.placement.uid for refused in page.changes.unfetchable)
                yield page
        withheld = await leave_out(missing, given)
        if withheld:
            still_listed = set(withheld).intersection(await self.connection.search_uids())
            yield FetchedPage(
                changes=PageChanges(
                    unfetchable=[
                        Unfetchable(
                            remote_id=state.name(uid),
                            placement=state.place(uid)[0],
                            reason=NOT_GIVEN,
                        )
                        for uid in sorted(still_listed)
                    ]
                )
            )

    async def _select(self, state: FolderState, qresync: tuple[int, int] | None = None) -> Examined:
        self._selected = None
        state.seen = await self.connection.examine(state.remote_id, qresync)
        self._selected = state
        return state.seen

    async def _select_again(self, state: FolderState) -> Examined:
        """Select a folder that was caught up earlier in this session, unless it still is."""
        if self._selected is state and state.seen is not None:
            return state.seen
        return await self._select_anew(state)

    async def _select_anew(self, state: FolderState) -> Examined:
        """Select a folder once more; its UIDs have to mean what they meant."""
        seen = await self._select(state)
        if (seen.uid_validity or state.cursor.uid_validity) != state.cursor.uid_validity:
            raise FolderGone("the folder was made anew during the sync")
        return seen

    async def _uid_next(self) -> int:
        """Return one more than the highest UID, for servers that leave UIDNEXT out."""
        uids = await self.connection.search_uids()
        return uids[-1] + 1 if uids else 1

    def _moved(self, page: FetchedPage, state: FolderState, **cursor: int | None) -> FetchedPage:
        """Return the page with the cursor that is true once it is stored."""
        moved: Mapping[FolderId, FolderCursor] = state.move(**cursor)
        marker = None
        if state.is_inbox and state.cursor.uid_next is not None:
            marker = AccountCursor(
                last_sync_uid=f"{state.cursor.uid_validity}:{state.cursor.uid_next}"
            )
        return replace(page, changes=replace(page.changes, cursors=moved, account_cursor=marker))

    def _wants_check(self, state: FolderState) -> bool:
        """Return whether the selected folder is complete and its count may have changed."""
        if state.cursor.backfill_before is not None:
            return False
        counts = (state.stored.stored_count, state.stored.remote_count)
        return state.touched or counts != (self.connection.exists, self.connection.exists)

    def _checked(self, page: FetchedPage, state: FolderState) -> FetchedPage:
        """Return the page with the server's count, to be held against ours once it is stored."""
        check = FolderCheck(folder_id=state.id, remote_count=self.connection.exists)
        return replace(page, changes=replace(page.changes, check=check))


def _is_done_soon(state: FolderState) -> bool:
    return state.seen is not None and state.seen.exists <= DONE_SOON
