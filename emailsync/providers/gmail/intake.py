"""Messages as they arrive into pages: where each lies, and which could not be had."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import anyio.abc

from emailsync.domain.errors import SyncError
from emailsync.domain.folders import AccountCursor
from emailsync.domain.pages import (
    MAX_PAGE_BYTES,
    FetchedMessage,
    FetchedPage,
    Placement,
    Unfetchable,
)
from emailsync.providers.ahead import ahead
from emailsync.providers.gmail.fetching import Arrival
from emailsync.providers.gmail.label_keeper import LabelKeeper
from emailsync.providers.gmail.labels import CHAT, flags_of
from emailsync.providers.gmail.paging import PageBuilder
from emailsync.providers.gmail.values import GmailMessage

READY: Final = 1
"""Batches that wait while another is on the wire: a page takes two, and should find both."""

Arrivals = AsyncGenerator[Arrival | AccountCursor]
"""What came, and between that cursors, each true once everything before it is stored."""


@dataclass(slots=True)
class Intake:
    """Makes pages of arrivals, the next of which is on the wire meanwhile."""

    keeper: LabelKeeper
    group: anyio.abc.TaskGroup  #: outlives every generator of this session
    has_put_aside: bool = field(default=False, init=False)  #: a message could not be had

    async def pages(self, arrivals: Arrivals) -> AsyncGenerator[FetchedPage]:
        """Yield pages of what arrives; what came before a failure is yielded before it.

        A cursor goes with the next page that has messages: one by itself would have to wait until
        all pages before it are stored, and the wire with it.
        """
        builder = PageBuilder()
        failure: SyncError | None = None
        async with aclosing(ahead(self.group, arrivals, ready=READY, name="fetch")) as items:
            try:
                async for item in items:
                    if isinstance(item, Arrival):
                        async for page in self._add(builder, item):
                            yield page
                    else:
                        if builder.cursor is not None:
                            yield builder.take()
                        builder.cursor = item
            except SyncError as error:
                failure = error
        if builder:
            yield builder.take()
        if failure is not None:
            raise failure

    async def _add(self, builder: PageBuilder, arrival: Arrival) -> AsyncGenerator[FetchedPage]:
        """Yield the pages that are full before the last message of an arrival is in."""
        mail = [message for message in arrival.messages if CHAT not in message.labels]
        labels = frozenset[str]().union(*(message.labels for message in mail))
        await self.keeper.learn(labels)
        self.keeper.touch(labels)
        for message in mail:
            fetched = self._fetched(message)
            if not builder.has_room_for(fetched):
                yield builder.take()
            builder.add(fetched)
            if builder.is_full:
                yield builder.take()
            if fetched.raw is not None and len(fetched.raw) > MAX_PAGE_BYTES:
                yield FetchedPage()  # returns when the large one is stored and forgotten
        for message_id, reason in arrival.refused.items():
            self.has_put_aside = True
            where = Placement(self.keeper.folders.archive)  # its labels are not known
            builder.put_aside(Unfetchable(remote_id=message_id, placement=where, reason=reason))

    def _fetched(self, message: GmailMessage) -> FetchedMessage:
        return FetchedMessage(
            remote_id=message.id,
            placements=self.keeper.folders.placements(message.labels),
            flags=flags_of(message.labels),
            received_at=message.received_at,
            size_bytes=message.size_bytes,
            raw=message.raw,
            thread_key=message.thread_id,
            truncated=message.truncated,
        )
