"""One Gmail account, synced: what goes first, and what follows from what the history tells.

New mail, changes and deletions come from the history, before anything else and also while a walk
through the whole mailbox is under way, which brings the old mail, newest first.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

import anyio.abc

from emailsync.domain.errors import ServerRefused
from emailsync.domain.folders import AccountCursor, FolderId
from emailsync.domain.pages import FetchedPage, FolderCheck, PageChanges
from emailsync.ports import Account, StoredMail, StoredMessage
from emailsync.providers.gmail.api import GmailApi
from emailsync.providers.gmail.changes import Differences, MessageChange, labels_named
from emailsync.providers.gmail.comparison import Comparison
from emailsync.providers.gmail.fetching import MessageFetcher
from emailsync.providers.gmail.history import Round, read_round
from emailsync.providers.gmail.intake import Arrivals, Intake
from emailsync.providers.gmail.inventory import WINDOW, chunks, lookup
from emailsync.providers.gmail.label_keeper import LabelKeeper
from emailsync.providers.gmail.labels import ARCHIVE
from emailsync.providers.gmail.walk import Stage, Walk

MOST_REPAIRED: Final = 500
"""Messages of one folder that are asked for one by one; the whole mailbox costs less than more."""
NO_WALK: Final = ""

Pages = AsyncGenerator[FetchedPage]


@dataclass(slots=True)
class GmailSession:
    """A MailSession over one account's client."""

    account: Account
    stored: StoredMail
    api: GmailApi
    fetcher: MessageFetcher
    keeper: LabelKeeper
    intake: Intake
    comparison: Comparison
    _history_id: str | None = field(default=None, init=False)
    _walk: Walk | None = field(default=None, init=False)

    @classmethod
    def over(
        cls,
        api: GmailApi,
        account: Account,
        stored: StoredMail,
        *,
        fetcher: MessageFetcher,
        group: anyio.abc.TaskGroup,
    ) -> "GmailSession":
        """Return a session whose background work belongs to `group`."""
        keeper = LabelKeeper(api, stored)
        comparison = Comparison(api, stored, keeper, fetcher)
        return cls(account, stored, api, fetcher, keeper, Intake(keeper, group), comparison)

    async def pages(self) -> Pages:
        """Yield everything that changed; see MailSession."""
        self._history_id = self.account.cursor.last_history_id
        self._walk = Walk.from_token(self.account.cursor.resume_token)
        for step in (
            self.keeper.update,
            self._place_detached,
            self._catch_up,
            self._walk_on,
            self._retry_quarantined,
            self._check,
        ):
            async with aclosing(step()) as pages:
                async for page in pages:
                    yield self.keeper.marked(page)

    async def reconcile(self, folder: FolderId) -> Pages:
        """Compare one folder in full; see MailSession. For the archive that is the mailbox."""
        async with aclosing(self._reconciled(folder)) as pages:
            async for page in pages:
                yield self.keeper.marked(page)

    async def _reconciled(self, folder: FolderId) -> Pages:
        label = self.keeper.folders.label_of(folder)
        if label is None:
            return  # deleted meanwhile
        if label == ARCHIVE.remote_id:
            found = None
        else:
            found = await self.comparison.folder(folder, label)
        if found is None or len(found.differing) > MOST_REPAIRED:
            yield self._walking(Walk(compares=True))
            for step in (self._walk_on, self._check):
                async with aclosing(step()) as pages:
                    async for page in pages:
                        yield page
            return
        async with aclosing(self._as_they_are_now(sorted(found.differing))) as pages:
            async for page in pages:
                yield page
        aside = set(await self.stored.quarantined_ids())
        new = [name for name in found.new if name not in aside]
        gone: list[str] = []
        async with aclosing(self._fetch(new, gone)) as pages:
            async for page in pages:
                yield page
        check = None
        if not aside and not self.intake.has_put_aside:
            check = FolderCheck(folder_id=folder, remote_count=found.listed - len(gone))
        yield FetchedPage(changes=PageChanges(check=check, compared=(folder,)))

    async def _catch_up(self) -> Pages:
        """Yield what the history tells; where there is none to go by, a walk begins."""
        while self._history_id is not None:
            known = await read_round(self.api, self._history_id)
            if known is None:
                break
            async with aclosing(self._after(known)) as pages:
                async for page in pages:
                    yield page
            if known.is_last:
                return
        is_empty = not await self.stored.inventory(None, after="", limit=1)
        # The history's id comes first: whatever happens during the walk is in the history.
        self._history_id = await self.api.history_id()
        yield self._walking(Walk(compares=not is_empty))

    async def _after(self, known: Round) -> Pages:
        """Yield what follows from a round of the history, and its place last."""
        changes = known.changes
        stored = await lookup(self.stored, changes)
        await self.keeper.learn(labels_named(changes))
        for gone in chunks(await self._gone(changes, stored)):
            yield FetchedPage(changes=PageChanges(removed=gone, settled=gone))
        for known_here in chunks(list(stored.values())):
            differences = self._differences(known_here, changes)
            if differences:
                yield self.keeper.note(differences)
        new = [
            name
            for name, change in changes.items()
            if name not in stored and not change.is_gone and not change.is_chat
        ]
        async with aclosing(self._fetch(new)) as pages:
            async for page in pages:
                yield page
        if known.history_id != self._history_id:
            self._history_id = known.history_id
            yield FetchedPage(changes=PageChanges(account_cursor=self._cursor()))

    async def _gone(
        self, changes: Mapping[str, MessageChange], stored: Mapping[str, StoredMessage]
    ) -> Sequence[str]:
        """Return the stored and quarantined messages that were deleted for ever."""
        deleted = [name for name, change in changes.items() if change.is_gone]
        if not deleted:
            return ()
        if self._walk is not None:
            self._walk = replace(self._walk, is_shifted=True)
        for name in deleted:
            if name in stored:
                self.keeper.touch(self.keeper.folders.labels_of(stored[name]))
        aside = set(await self.stored.quarantined_ids())
        return [name for name in deleted if name in stored or name in aside]

    def _differences(
        self, messages: Sequence[StoredMessage], changes: Mapping[str, MessageChange]
    ) -> Differences:
        differences = Differences()
        for message in messages:
            change = changes[message.remote_id]
            if not change.is_gone:
                labels = change.applied_to(self.keeper.folders.labels_of(message))
                differences.add(message, labels, self.keeper.folders)
        return differences

    async def _walk_on(self) -> Pages:
        """Yield the rest of the walk, if one is under way."""
        stages = {
            Stage.LISTING: self._list,
            Stage.MAILBOX: self._compare_mailbox,
            Stage.LABELS: self._compare_labels,
        }
        while (walk := self._walk) is not None:
            async with aclosing(stages[walk.stage](walk)) as pages:
                async for page in pages:
                    yield page

    async def _list(self, walk: Walk) -> Pages:
        """Yield what is listed and not stored yet, then what happened meanwhile."""
        async with aclosing(self.intake.pages(self._listed(walk))) as pages:
            async for page in pages:
                yield page
        async with aclosing(self._catch_up()) as pages:
            async for page in pages:
                yield page
        now = self._walk or walk
        if now is not walk or walk.is_shifted:  # or the history has expired meanwhile
            yield self._walking(Walk(compares=now.compares))
        elif walk.compares:
            yield self._walking(Walk(stage=Stage.MAILBOX, compares=True))
        else:
            yield self._walking(None)

    async def _listed(self, walk: Walk) -> Arrivals:
        """Yield all messages from the walk's place on that are not stored, and its places."""
        aside = set(await self.stored.quarantined_ids())
        tokens: set[str] = set()
        while True:
            page = await self.api.messages((), walk.at)
            if page is None and not tokens:  # the stored place is not known any more
                page = await self.api.messages((), "")
            if page is None or page.next_page in tokens:
                raise ServerRefused("Gmail's list of messages broke off")
            tokens.add(page.next_page)
            known = aside.union(await self.stored.lookup(page.ids))
            new = [name for name in page.ids if name not in known]
            async with aclosing(self.fetcher.whole(new)) as arrivals:
                async for arrival in arrivals:
                    yield arrival
            if not page.next_page:
                return
            walk = replace(walk, at=page.next_page)
            yield AccountCursor(resume_token=walk.token())

    async def _compare_mailbox(self, walk: Walk) -> Pages:
        async with aclosing(self.comparison.mailbox()) as pages:
            async for page in pages:
                yield page
        yield self._walking(replace(walk, stage=Stage.LABELS, at=""))

    async def _compare_labels(self, walk: Walk) -> Pages:
        for label in sorted(self.keeper.folders.folders):
            if label > walk.at and label != ARCHIVE.remote_id:
                async with aclosing(self.comparison.label(label)) as pages:
                    async for page in pages:
                        yield page
                yield self._walking(replace(walk, at=label))
        page = self._walking(None)
        compared = list(self.keeper.folders.folders.values())
        yield replace(page, changes=replace(page.changes, compared=compared))
        async with aclosing(self._catch_up()) as pages:
            async for page in pages:
                yield page

    async def _place_detached(self) -> Pages:
        """Yield where messages lie that are in no folder, or that they are gone.

        What Gmail cannot tell of now is left alone: an error deletes nothing.
        """
        if not self.account.has_detached:
            return
        after = ""
        while names := await self.stored.detached(after=after, limit=WINDOW):
            async with aclosing(self._as_they_are_now(names)) as pages:
                async for page in pages:
                    yield page
            after = names[-1]

    async def _retry_quarantined(self) -> Pages:
        """Ask again, once a day, for messages that Gmail would not give."""
        if not self.keeper.quarantine_due:
            return
        gone: list[str] = []
        async with aclosing(self._fetch(await self.stored.quarantined_ids(), gone)) as pages:
            async for page in pages:
                yield page
        if gone:
            yield FetchedPage(changes=PageChanges(removed=gone))

    async def _check(self) -> Pages:
        """Yield Gmail's counts of the labels that changed.

        Where messages are quarantined the counts prove nothing: their labels are not known.
        """
        touched = self.keeper.touched.intersection(self.keeper.folders.folders)
        touched.discard(ARCHIVE.remote_id)
        if not touched or await self.stored.quarantined_ids():
            return
        for label, total in (await self.api.totals(sorted(touched))).items():
            check = FolderCheck(folder_id=self.keeper.folders.folders[label], remote_count=total)
            yield FetchedPage(changes=PageChanges(check=check))

    async def _fetch(self, ids: Sequence[str], gone: list[str] | None = None) -> Pages:
        """Yield these messages; those that are gone meanwhile are added to `gone`."""
        if ids:
            arrivals = self._arriving(ids, [] if gone is None else gone)
            async with aclosing(self.intake.pages(arrivals)) as pages:
                async for page in pages:
                    yield page

    async def _arriving(self, ids: Sequence[str], gone: list[str]) -> Arrivals:
        async with aclosing(self.fetcher.whole(ids)) as arrivals:
            async for arrival in arrivals:
                gone += arrival.gone
                yield arrival

    async def _as_they_are_now(self, ids: Sequence[str]) -> Pages:
        """Yield how stored messages differ from what Gmail says when asked for each."""
        async with aclosing(self.fetcher.states(ids)) as arrivals:
            async for arrival in arrivals:
                now = {message.id: message.labels for message in arrival.messages}
                await self.keeper.learn(frozenset[str]().union(*now.values()))
                differences = Differences()
                for name, message in (await self.stored.lookup(list(now))).items():
                    differences.add(message, now[name], self.keeper.folders)
                page = self.keeper.note(differences)
                gone = replace(page.changes, removed=arrival.gone, settled=arrival.gone)
                yield replace(page, changes=gone)

    def _walking(self, walk: Walk | None) -> FetchedPage:
        """Return the page that says where the walk is now."""
        self._walk = walk
        if walk is None:
            self.keeper.touch(self.keeper.folders.folders)
        return FetchedPage(changes=PageChanges(account_cursor=self._cursor()))

    def _cursor(self) -> AccountCursor:
        token = NO_WALK if self._walk is None else self._walk.token()
        return AccountCursor(last_history_id=self._history_id, resume_token=token)
