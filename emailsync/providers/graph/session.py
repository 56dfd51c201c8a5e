"""One mailbox of Microsoft Graph, synced: what goes first, and what a folder's failure means.

A sync without news takes two requests: the delta of the folders, and one `$batch` of the deltas
of their messages. New mail comes before backfill; what lies in no folder by then is asked for by
name.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import structlog

from emailsync.domain.errors import QuotaSpent, ServerRefused, SyncError, Throttled
from emailsync.domain.folders import AccountCursor, FolderId
from emailsync.domain.pages import FetchedPage, PageChanges
from emailsync.ports import StoredMail
from emailsync.providers.graph.batch import MAX_PARTS, Part, get_batched
from emailsync.providers.graph.client import GraphClient, Result
from emailsync.providers.graph.contents import ContentFetcher
from emailsync.providers.graph.counts import FolderCounts
from emailsync.providers.graph.detached import DetachedMail
from emailsync.providers.graph.folder_state import FolderMap, FolderState
from emailsync.providers.graph.folder_tree import FolderTree, Tree
from emailsync.providers.graph.items import ENVELOPE, Item, parent_of
from emailsync.providers.graph.known_mail import KnownMail
from emailsync.providers.graph.refusals import CursorExpired, ItemGone, concerns_one
from emailsync.providers.graph.rounds import FolderRounds
from emailsync.providers.http_messages import Answer, AnswerTooLarge

log = structlog.get_logger(__name__)

BATCHED_PAGE: Final = 10
"""Messages of a page that comes in a batch with up to 19 others; longer rounds go on alone."""
RETRIED_TOGETHER: Final = 50  #: quarantined messages
FAILURES_ARE_ALL: Final = 3  #: folders, in one session: then it is not the folders
NOTHING: Final = PageChanges()


@dataclass(slots=True)
class GraphSession:
    """A MailSession of one mailbox."""

    client: GraphClient
    stored: StoredMail
    contents: ContentFetcher
    cursor: AccountCursor
    settles: bool  #: messages may lie in no folder
    _folders: FolderMap = field(default_factory=FolderMap, init=False)
    _known: KnownMail = field(init=False)
    _tree: FolderTree = field(init=False)
    _counts: FolderCounts = field(init=False)
    _rounds: FolderRounds = field(init=False)
    _failures: list[tuple[str, SyncError]] = field(default_factory=list, init=False)
    _has_written: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._known = KnownMail(self.stored)
        self._tree = FolderTree(self.client, self.stored)
        self._counts = FolderCounts(self.client)
        self._rounds = FolderRounds(
            self.client, self._known, self.contents, self._folders, self._counts
        )

    async def pages(self) -> AsyncGenerator[FetchedPage]:
        """Yield everything that changed; see MailSession."""
        async with aclosing(self._steps()) as pages:
            async for page in pages:
                yield self._noted(page)
        self._raise_failures()

    async def reconcile(self, folder: FolderId) -> AsyncGenerator[FetchedPage]:
        """Compare one folder in full; see MailSession."""
        state = self._folders.state(folder)
        if state is None or not state.is_complete:
            return  # it is looked at whole anyway
        compared = self._guarded(state, self._rounds.compare(state))
        for step in (compared, self._settled(), self._conclusion(state)):
            async with aclosing(step) as pages:
                async for page in pages:
                    yield self._noted(page)
        self._raise_failures()

    async def _steps(self) -> AsyncGenerator[FetchedPage]:
        tree = await self._listed()
        self._folders.update(tree.folders, tree.totals)
        self.settles |= tree.removed
        link = AccountCursor(last_delta_link=tree.link)
        if tree.is_news:
            yield FetchedPage(changes=PageChanges(account_cursor=link))
        for step in (
            self._catch_up(),
            self._retry_quarantined(),
            self._settled(),
            self._backfill(),
            self._settled(),
            self._checks(self._folders.in_turn()),
        ):
            async with aclosing(step) as pages:
                async for page in pages:
                    yield page
        if self._has_written:
            yield self._fresh_links(link)

    async def _listed(self) -> Tree:
        """Return the folders; where they cannot be listed, those that are stored do for now."""
        link = self.cursor.last_delta_link
        try:
            return await self._tree.refresh(link)
        except ServerRefused as error:
            folders = await self.stored.folders()
            if not folders or link is None:
                raise
            self._failures.append(("the list of folders", error))
            return Tree(folders=folders, totals={}, link=link, is_news=False, removed=False)

    async def _catch_up(self) -> AsyncGenerator[FetchedPage]:
        """Follow what changed in the folders that were synced whole before, 20 in a request."""
        states = iter([state for state in self._folders.in_turn() if state.is_complete])
        while batch := list(islice(states, MAX_PARTS)):
            results = await self._first_pages(batch)
            stop = next((first for _, first in results if isinstance(first, Throttled)), None)
            try:
                for state, first in results:
                    follow = self._rounds.follow(state, first, changes_only=True)
                    async with aclosing(self._guarded(state, follow)) as pages:
                        async for page in pages:
                            yield page
            except QuotaSpent as spent:  # because of what stopped the batch, perhaps
                raise stop or spent from None

    async def _first_pages(
        self, states: Sequence[FolderState]
    ) -> Sequence[tuple[FolderState, Result | None]]:
        """Return what each folder's round brings first; failures last: they stop what follows."""
        parts: list[tuple[FolderState, Part]] = []
        results: list[tuple[FolderState, Result | None]] = []
        for state in states:
            try:
                parts.append((state, Part(self._rounds.next_target(state), BATCHED_PAGE)))
            except CursorExpired as error:
                results.append((state, error))
        try:
            answers = await get_batched(self.client, [part for _, part in parts])
        except AnswerTooLarge:  # one by one, then
            results += [(state, None) for state, _ in parts]
        else:
            results += zip([state for state, _ in parts], answers, strict=True)
        return sorted(results, key=lambda result: isinstance(result[1], SyncError))

    async def _retry_quarantined(self) -> AsyncGenerator[FetchedPage]:
        """Ask again, once a day, for messages that could not be had; take what there is now."""
        due = [state.id for state in self._folders.in_turn() if state.stored.quarantine_due]
        quarantined = await self.stored.quarantined_ids() if due else ()

        def where(item: Item) -> FolderId:
            return self._folders.named(parent_of(item)) or due[0]

        for start in range(0, len(quarantined), RETRIED_TOGETHER):
            names = quarantined[start : start + RETRIED_TOGETHER]
            answers = await self.contents.get_items(names, ENVELOPE)
            asked = list(zip(names, answers, strict=True))
            if gone := [name for name, answer in asked if isinstance(answer, ItemGone)]:
                yield FetchedPage(changes=PageChanges(removed=gone))
            items: list[Item] = [
                {**(answer.json() if isinstance(answer, Answer) else {}), "id": name}
                for name, answer in asked
                if not isinstance(answer, ItemGone)
            ]
            self._folders.touch([*due, *map(where, items)])
            async with aclosing(self.contents.pages(items, where, last_resort=True)) as pages:
                async for page, _ in pages:
                    yield page

    async def _settled(self) -> AsyncGenerator[FetchedPage]:
        """Find out what became of messages that lie in no folder, if there may be any."""
        if not self.settles:
            return
        self.settles = False
        detached = DetachedMail(self.stored, self.contents, self._folders, self._tree)
        async with aclosing(detached.pages()) as pages:
            async for page in pages:
                yield page

    async def _backfill(self) -> AsyncGenerator[FetchedPage]:
        """Fetch what lies in folders that were not synced whole yet, the newest first."""
        for state in self._folders.in_turn():
            if state.is_complete:
                continue
            if state.cursor.resume_link is not None:
                async with aclosing(self._guarded(state, self._rounds.peek(state))) as pages:
                    async for page in pages:
                        yield page
            async with aclosing(self._guarded(state, self._rounds.follow(state))) as pages:
                async for page in pages:
                    yield page

    async def _checks(self, states: Iterable[FolderState]) -> AsyncGenerator[FetchedPage]:
        """Count folders in which something changed beside their own rounds."""
        counted = [
            state for state in states if state.touched and state.is_complete and not state.failed
        ]
        for check in await self._counts.checks(counted):
            yield FetchedPage(changes=PageChanges(check=check))

    async def _conclusion(self, state: FolderState) -> AsyncGenerator[FetchedPage]:
        """Yield the page that ends a comparison."""
        if state.failed:
            return
        check = next(iter(await self._counts.checks([state])), None)
        cursors = state.move(compare_link=None)
        yield FetchedPage(changes=PageChanges(cursors=cursors, check=check, compared=(state.id,)))

    async def _guarded(
        self, state: FolderState, step: AsyncGenerator[FetchedPage]
    ) -> AsyncGenerator[FetchedPage]:
        """Take a step in a folder; one that fails leaves the other folders alone."""
        if state.failed:
            return
        try:
            async with aclosing(step) as pages:
                async for page in pages:
                    yield page
        except ItemGone as error:
            state.failed = True  # the next listing tells what became of it
            log.info("sync.folder_vanished", folder_id=state.id, reason=error.message)
        except SyncError as error:
            if not concerns_one(error):
                raise
            state.failed = True
            self._failures.append((state.stored.path, error))
            if len(self._failures) >= FAILURES_ARE_ALL:
                raise

    def _fresh_links(self, link: AccountCursor) -> FetchedPage:
        """Return the links of folders without news: a token that nobody renews dies sooner.

        Alone they are not worth a row each, at each sync; beside other changes they are.
        """
        return FetchedPage(
            changes=PageChanges(
                account_cursor=link,
                cursors={
                    state.id: cursor
                    for state in self._folders.in_turn()
                    if state.fresh_link
                    for cursor in state.move(delta_link=state.fresh_link).values()
                },
            )
        )

    def _raise_failures(self) -> None:
        if self._failures:
            path, error = self._failures[0]
            error.message = f"{len(self._failures)} folders failed: {path}: {error.message}"
            raise error

    def _noted(self, page: FetchedPage) -> FetchedPage:
        page = self._folders.marked(page)
        self._known.note(page)
        self.settles |= bool(page.changes.left)
        self._has_written |= bool(page.messages) or page.changes != NOTHING
        return page
