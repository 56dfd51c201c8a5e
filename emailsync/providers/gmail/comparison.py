"""Compares what is stored with what Gmail lists, without fetching a message.

A list of ids for each label says who has it at a fifth of the price of asking for one message.
Deletions are earned: messages that are not listed are asked for, or listed once more.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Container, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from emailsync.domain.deletion_guard import needs_second_listing
from emailsync.domain.errors import QuotaSpent, ServerRefused
from emailsync.domain.folders import FolderId
from emailsync.domain.pages import FetchedPage, PageChanges
from emailsync.ports import StoredMail
from emailsync.providers.gmail.api import BATCH_PARTS, GmailApi
from emailsync.providers.gmail.changes import Differences
from emailsync.providers.gmail.fetching import MessageFetcher
from emailsync.providers.gmail.inventory import chunks, lookup, windows
from emailsync.providers.gmail.label_keeper import LabelKeeper
from emailsync.providers.gmail.labels import FLAGS, STARRED, UNREAD
from emailsync.providers.gmail.values import MessageList

WORTH_WAITING_FOR: Final = 100
"""Pages of a list. What is read cannot be kept for the next sync, so beyond these a session waits
for its quota rather than begin anew: else a label of a million messages would never be listed."""
ALL: Final = ()  #: no label: all messages


@dataclass(slots=True)
class Comparison:
    """Comparisons of one mailbox; pages with messages must be stored before one begins."""

    api: GmailApi
    stored: StoredMail
    keeper: LabelKeeper
    fetcher: MessageFetcher

    async def mailbox(self) -> AsyncGenerator[FetchedPage]:
        """Yield differing flags, and what is not there any more."""
        listed = await self._listed(ALL)
        unread, starred = await self._listed((UNREAD,)), await self._listed((STARRED,))
        missing: list[str] = []
        async for window in windows(self.stored, None):
            differences = Differences()
            for message in window:
                if message.remote_id not in listed:
                    missing.append(message.remote_id)
                    continue
                labels = self.keeper.folders.labels_of(message).difference(FLAGS)
                labels |= flag_labels(message.remote_id, unread, starred)
                differences.add(message, labels, self.keeper.folders)
            if differences:
                yield self.keeper.note(differences)
        missing += set(await self.stored.quarantined_ids()).difference(listed)
        for gone in chunks(await self._proven_gone(missing)):
            yield FetchedPage(changes=PageChanges(removed=gone, settled=gone))

    async def label(self, label: str) -> AsyncGenerator[FetchedPage]:
        """Yield which stored messages have the label and which have it no more."""
        listed = await self._listed((label,))
        folder = self.keeper.folders.folders[label]
        without, total = [], 0
        new = set(listed)
        async for window in windows(self.stored, folder):
            total += len(window)
            without += [message.remote_id for message in window if message.remote_id not in listed]
            new.difference_update(message.remote_id for message in window)
        if needs_second_listing(len(without), total):
            again = await self._listed((label,))
            without = [name for name in without if name not in again]
        for some in chunks(without):
            async for page in self._with(some, lambda labels: labels - {label}):
                yield page
        for some in chunks(sorted(new)):
            async for page in self._with(some, lambda labels: labels | {label}):
                yield page

    async def folder(self, folder: FolderId, label: str) -> "FolderDifference":
        """Return which messages of a folder, or of its label, differ in any way."""
        listed = await self._listed((label,))
        unread, starred = await self._listed((label, UNREAD)), await self._listed((label, STARRED))
        differing: set[str] = set()
        new = set(listed)
        async for window in windows(self.stored, folder):
            for message in window:
                new.discard(message.remote_id)
                flags = self.keeper.folders.labels_of(message).intersection(FLAGS)
                if message.remote_id not in listed or flags != flag_labels(
                    message.remote_id, unread, starred
                ):
                    differing.add(message.remote_id)
        known = await lookup(self.stored, new)
        return FolderDifference(len(listed), differing.union(known), sorted(new.difference(known)))

    async def _with(
        self, ids: Sequence[str], change: Callable[[frozenset[str]], frozenset[str]]
    ) -> AsyncGenerator[FetchedPage]:
        """Yield the page by which the stored ones of these messages get other labels."""
        differences = Differences()
        for message in (await self.stored.lookup(ids)).values():
            labels = change(self.keeper.folders.labels_of(message))
            differences.add(message, labels, self.keeper.folders)
        if differences:
            yield self.keeper.note(differences)

    async def _listed(self, labels: tuple[str, ...]) -> set[str]:
        """Return the ids of all messages that have these labels.

        Raises:
            ServerRefused: no whole list is to be had.
        """
        ids: set[str] = set()
        tokens = [""]
        while True:
            page = await self._page(labels, tokens[-1], is_patient=len(tokens) > WORTH_WAITING_FOR)
            if page is None and len(tokens) == 1 and await self._is_deleted(labels):
                return ids
            if page is None:
                raise ServerRefused("Gmail's list of messages broke off")
            ids.update(page.ids)
            if not page.next_page:
                return ids
            if page.next_page in tokens:
                raise ServerRefused("the pages of Gmail's list of messages go in a ring")
            tokens.append(page.next_page)

    async def _is_deleted(self, labels: tuple[str, ...]) -> bool:
        """Return whether a label is gone since the session began, by Gmail's own list."""
        return not {label.id for label in await self.api.labels()}.issuperset(labels)

    async def _page(
        self, labels: tuple[str, ...], token: str, *, is_patient: bool
    ) -> MessageList | None:
        while True:
            try:
                return await self.api.messages(labels, token)
            except QuotaSpent as spent:
                if not is_patient:
                    raise
                await anyio.sleep(spent.frees_in.total_seconds())

    async def _proven_gone(self, missing: Sequence[str]) -> Sequence[str]:
        """Return those of the messages that a list did not show which are gone indeed.

        Raises:
            ServerRefused: Gmail has messages that it does not list.
        """
        if len(missing) <= BATCH_PARTS:
            return await self._not_found(missing)
        again = await self._listed(ALL)
        missing = [name for name in missing if name not in again]
        sample = missing[:: len(missing) // BATCH_PARTS + 1]
        if len(await self._not_found(sample)) < len(sample):
            raise ServerRefused("Gmail does not list all of its messages")
        return missing

    async def _not_found(self, ids: Sequence[str]) -> Sequence[str]:
        gone: list[str] = []
        async for arrival in self.fetcher.states(ids):
            gone += arrival.gone
        return gone


@dataclass(frozen=True, slots=True)
class FolderDifference:
    """What a comparison of one folder found."""

    listed: int  #: messages that Gmail lists
    differing: Collection[str]  #: stored ones
    new: Sequence[str]  #: listed ones that are not stored


def flag_labels(message_id: str, unread: Container[str], starred: Container[str]) -> frozenset[str]:
    """Return the flags of a message, as the labels they are."""
    flags = ((UNREAD, unread), (STARRED, starred))
    return frozenset(label for label, having in flags if message_id in having)
