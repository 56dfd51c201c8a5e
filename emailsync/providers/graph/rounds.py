"""Delta rounds of one folder: the first one shows all of it, the later ones what changed.

A link is stored with the pages that led to it, so a round goes on where it was cut. A round whose
link has expired begins anew, and what it does not show any more is taken for gone only then: no
content is fetched again, and no deletion is believed on the word of one page.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from emailsync.domain.deletion_guard import needs_second_listing
from emailsync.domain.errors import ServerRefused, SyncError
from emailsync.domain.folders import FolderCursor, FolderId
from emailsync.domain.pages import FetchedPage, PageChanges
from emailsync.providers.graph.addressing import ForeignLink, segment, target
from emailsync.providers.graph.client import GraphClient, Result
from emailsync.providers.graph.contents import ContentFetcher
from emailsync.providers.graph.counts import FolderCounts
from emailsync.providers.graph.delta import (
    DeltaPage,
    EndlessRound,
    RoundWatch,
    is_removed,
    merged,
)
from emailsync.providers.graph.folder_state import FolderMap, FolderState
from emailsync.providers.graph.items import ENVELOPE, Item, parent_of, select
from emailsync.providers.graph.known_mail import KnownMail, changes_of
from emailsync.providers.graph.refusals import CursorExpired, ItemGone
from emailsync.providers.http_messages import Answer, AnswerTooLarge

log = structlog.get_logger(__name__)

PAGE_SIZES: Final = (200, 20, 1)
"""Messages of a page, and fewer where so many are too large an answer. No maximum is documented;
with 200, one request for the attachments of a page is nearly full."""
COMPARED: Final = select(ENVELOPE)
PEEK_SIZE: Final = 20
LISTING_PAGE: Final = 1_000  #: of ids alone
LARGEST_ANSWER_BYTES: Final = 160 * 1024 * 1024  #: a page of one message
WINDOW: Final = 5_000  #: stored messages compared at a time
REMOVALS_PER_PAGE: Final = 1_000
LINKS_DIE: Final = "the links of a delta query expire as soon as they are given"
MAX_STARTS: Final = 3  #: of one round in one session: its links may expire, but not at once


@dataclass(slots=True)
class FolderRounds:
    """Follows the rounds of an account's folders, for one session."""

    client: GraphClient
    known: KnownMail
    contents: ContentFetcher
    folders: FolderMap
    counts: FolderCounts

    def next_target(self, state: FolderState) -> str:
        """Return where the folder's round goes on, or begins.

        Raises:
            CursorExpired: a stored link leads to another API than the configured one.
        """
        link = state.cursor.resume_link or state.cursor.delta_link
        if link is None:
            return self._beginning(state, self.contents.selection)
        return self._cut(link)

    def _cut(self, stored: str) -> str:
        try:
            return self.client.links.cut(stored)
        except ForeignLink as error:
            raise CursorExpired("the configured API is another one than it was") from error

    async def follow(
        self, state: FolderState, first: Result | None = None, *, changes_only: bool = False
    ) -> AsyncGenerator[FetchedPage]:
        """Bring a folder up to date: yield the pages of its round until the end.

        Args:
            state: of the folder.
            first: what asking for `next_target` has brought already.
            changes_only: when it turns out that all of the folder has to be looked at, do not.
        """
        for _ in range(MAX_STARTS):
            try:
                async with aclosing(self._round(state, first)) as pages:
                    async for page in pages:
                        yield page
            except CursorExpired as error:
                log.info("sync.delta_link_expired", folder_id=state.id, reason=error.message)
                first, state.listed = None, None
                yield FetchedPage(changes=PageChanges(cursors=state.fall_back()))
                if changes_only and not state.is_complete:
                    return
            except EndlessRound:
                log.warning("sync.delta_round_endless", folder_id=state.id)
                if state.cursor.resume_link:  # the link before this round is still good
                    yield FetchedPage(changes=PageChanges(cursors=state.fall_back()))
                raise
            else:
                return
        raise ServerRefused(LINKS_DIE)

    async def peek(self, state: FolderState) -> AsyncGenerator[FetchedPage]:
        """Yield the newest mail of a folder whose first round, newest first, began long ago."""
        wanted = self._beginning(state, self.contents.selection)
        for _ in range(MAX_STARTS):
            page = DeltaPage.read(await self.client.get(wanted, page_size=PEEK_SIZE))
            items = {at: item for at, item in merged(page.items).items() if not is_removed(item)}
            known = await self.known.lookup(items)
            async with aclosing(self.apply(state, list(items.values()))) as pages:
                async for new, _ in pages:
                    yield new
            if page.next_link is None or known:
                return
            wanted = self.client.links.cut(page.next_link)

    async def compare(self, state: FolderState) -> AsyncGenerator[FetchedPage]:
        """Look at all of a folder beside its rounds, and yield every difference.

        Like a first round it goes on where the session before was cut.
        """
        for _ in range(MAX_STARTS):
            try:
                async with aclosing(self._comparison(state)) as pages:
                    async for page in pages:
                        yield page
            except CursorExpired as error:
                log.info("sync.compare_link_expired", folder_id=state.id, reason=error.message)
                yield FetchedPage(changes=PageChanges(cursors=state.move(compare_link=None)))
            else:
                return
        raise ServerRefused(LINKS_DIE)

    async def _comparison(self, state: FolderState) -> AsyncGenerator[FetchedPage]:
        link = state.cursor.compare_link
        state.listed = None if link else set()
        wanted = self._cut(link) if link else self._beginning(state, COMPARED)
        async with aclosing(self._whole(state, wanted)) as answers:
            async for page in answers:
                at = state.cursor.compare_link  # none is kept of a comparison of a single page
                if page.next_link or (at and page.items):
                    at = page.next_link or page.delta_link
                under_way = replace(state.cursor, compare_link=at)
                async for stored in self._with_cursor(state, page, under_way):
                    yield stored
        if self.known.has_unstored:
            yield FetchedPage()
        listed = state.listed if state.listed is not None else await self._listing(state)
        state.listed = None
        async for stored in self._vanished(state, listed):
            yield stored

    async def _round(self, state: FolderState, first: Result | None) -> AsyncGenerator[FetchedPage]:
        wanted = self.next_target(state)
        was_complete = state.is_complete
        if not was_complete and state.cursor.resume_link is None:
            state.listed = set()
        watch = RoundWatch(state.size)
        while True:
            page = await self._page(wanted, first)
            first = None
            watch.see(page)
            if page.next_link is None:
                break
            wanted = self.client.links.cut(page.next_link)
            under_way = replace(state.cursor, resume_link=page.next_link)
            async for stored in self._with_cursor(state, page, under_way):
                yield stored
        assert page.delta_link is not None, "the last page of a round has a delta link"
        self.client.links.cut(page.delta_link)
        if was_complete and not page.items and state.cursor.resume_link is None:
            state.fresh_link = page.delta_link
            return
        if was_complete or (state.is_blank and state.listed is not None):
            async with aclosing(self.apply(state, page.items)) as pages:
                async for stored, _ in pages:
                    yield stored
        else:
            async for stored in self._concluded(state, page):
                yield stored
        yield await self._finished(state, page)

    async def _finished(self, state: FolderState, page: DeltaPage) -> FetchedPage:
        """Return the page that ends a round.

        Its cursor moves only together with the folder's check, so that no cut leaves it out.
        """
        check = await self.counts.after_round(state)
        state.listed = None
        return FetchedPage(
            changes=PageChanges(
                cursors=state.move(delta_link=page.delta_link, resume_link=None), check=check
            )
        )

    async def _concluded(self, state: FolderState, page: DeltaPage) -> AsyncGenerator[FetchedPage]:
        """Apply the last page of a full round, and find out what the folder does not hold any more.

        Until that is stored the round counts as under way, and its end is where it goes on.
        """
        if page.items:
            under_way = replace(state.cursor, delta_link=None, resume_link=page.delta_link)
            async for stored in self._with_cursor(state, page, under_way):
                yield stored
        if self.known.has_unstored:
            yield FetchedPage()  # what follows reads what is stored
        listed = state.listed if state.listed is not None else await self._listing(state)
        async for stored in self._vanished(state, listed):
            yield stored

    async def _with_cursor(
        self, state: FolderState, page: DeltaPage, cursor: FolderCursor
    ) -> AsyncGenerator[FetchedPage]:
        """Apply a page; the last of what it makes carries the cursor that is true by then."""
        is_moved = False
        async with aclosing(self.apply(state, page.items)) as pages:
            async for new, is_last in pages:
                is_moved = is_last
                yield replace(new, changes=self._moved(new, state, cursor)) if is_last else new
        if not is_moved and cursor != state.cursor:
            yield FetchedPage(changes=self._moved(FetchedPage(), state, cursor))

    @staticmethod
    def _moved(page: FetchedPage, state: FolderState, cursor: FolderCursor) -> PageChanges:
        state.cursor = cursor
        return replace(page.changes, cursors={state.id: cursor})

    async def apply(
        self, state: FolderState, items: Sequence[Mapping[str, Any]]
    ) -> AsyncGenerator[tuple[FetchedPage, bool]]:
        """Yield what these items of the folder change: first what is known, then what is new.

        Each page comes with whether it is the last of them; there may be none.
        """

        def where(item: Item) -> FolderId:
            return self.folders.named(parent_of(item)) or state.id

        found = await self._one_word_each(items)
        if state.listed is not None:
            for remote_id, item in found.items():
                (state.listed.discard if is_removed(item) else state.listed.add)(remote_id)
        changes = changes_of(found, await self.known.lookup(found), state.id, where)
        self.folders.touch([state.id, *changes.folders] if found else ())
        # A name that nobody knows may be in quarantine.
        left = [*await self._earned(state, changes.left), *changes.strange]
        if left or changes.placements or changes.flags:
            rearranged = PageChanges(
                left={state.id: left} if left else {},
                placements=changes.placements,
                flags=changes.flags,
            )
            yield FetchedPage(changes=rearranged), not changes.wanted
        async with aclosing(self.contents.pages(changes.wanted, where)) as pages:
            async for page in pages:
                yield page

    async def _one_word_each(self, items: Sequence[Item]) -> Mapping[str, Item]:
        """Return each item once; of one that is both there and not, ask what is true now."""
        found = dict(merged(items))
        removed = {item["id"] for item in items if is_removed(item)}
        doubtful = [item["id"] for item in items if not is_removed(item) and item["id"] in removed]
        answers = await self.contents.get_items(doubtful, ENVELOPE) if doubtful else ()
        for remote_id, answer in zip(doubtful, answers, strict=True):
            if isinstance(answer, ItemGone):
                found[remote_id] = {"id": remote_id, "@removed": {}}
            elif isinstance(answer, SyncError):
                raise answer
            else:
                found[remote_id] = {**answer.json(), "id": remote_id}
        return found

    async def _earned(self, state: FolderState, left: Sequence[str]) -> Sequence[str]:
        """Return those that may be taken out of the folder: of many, what a listing lacks too."""
        state.left += len(left)
        if not left or not needs_second_listing(state.left, state.stored.stored_count):
            return left
        if state.relisted is None:
            state.relisted = await self._listing(state)
        return [remote_id for remote_id in left if remote_id not in state.relisted]

    async def _vanished(self, state: FolderState, listed: set[str]) -> AsyncGenerator[FetchedPage]:
        """Yield the removal of what is stored of the folder and not listed."""
        gone: list[str] = []
        after = ""
        while window := await self.known.stored.inventory(state.id, after=after, limit=WINDOW):
            gone += [mail.remote_id for mail in window if mail.remote_id not in listed]
            after = window[-1].remote_id
        quarantined = await self.known.stored.quarantined_ids()
        gone = [*await self._earned(state, gone), *(at for at in quarantined if at not in listed)]
        for start in range(0, len(gone), REMOVALS_PER_PAGE):
            self.folders.touch([state.id])
            left = {state.id: gone[start : start + REMOVALS_PER_PAGE]}
            yield FetchedPage(changes=PageChanges(left=left))

    async def _listing(self, state: FolderState) -> set[str]:
        """Return the ids of all messages in the folder now."""
        listed: set[str] = set()
        async with aclosing(self._whole(state, self._beginning(state, "id"))) as answers:
            async for page in answers:
                for item in page.items:
                    (listed.discard if is_removed(item) else listed.add)(item["id"])
        return listed

    async def _whole(self, state: FolderState, wanted: str) -> AsyncGenerator[DeltaPage]:
        """Yield the pages of a full round from a place on; nobody follows its delta link."""
        watch = RoundWatch(state.size)
        while True:
            page = DeltaPage.read(await self.client.get(wanted, page_size=LISTING_PAGE))
            watch.see(page)
            yield page
            if page.next_link is None:
                return
            wanted = self.client.links.cut(page.next_link)

    async def _page(self, wanted: str, first: Result | None) -> DeltaPage:
        """Read the page at a target, with fewer messages where it is too large an answer."""
        if isinstance(first, Answer):
            return DeltaPage.read(first)
        if first is not None and not isinstance(first, AnswerTooLarge):
            raise first
        for size in PAGE_SIZES[:-1]:
            try:
                return DeltaPage.read(await self.client.get(wanted, page_size=size))
            except AnswerTooLarge:
                log.info("sync.page_too_large", messages=size)
        answer = await self.client.get(
            wanted, page_size=PAGE_SIZES[-1], max_bytes=LARGEST_ANSWER_BYTES
        )
        return DeltaPage.read(answer)

    def _beginning(self, state: FolderState, selection: str) -> str:
        """Return the target of a full round: the newest messages first."""
        return target(
            f"{self.client.root}/mailFolders/{segment(state.remote_id)}/messages/delta",
            {"$select": selection, "$orderby": "receivedDateTime desc"},
        )
