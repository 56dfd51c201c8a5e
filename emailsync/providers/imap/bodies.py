"""Fetches messages: sizes first, then bodies in bounded batches, one always on the wire."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import anyio

from emailsync.domain.errors import SyncError, Throttled
from emailsync.domain.pages import (
    MAX_PAGE_BYTES,
    MAX_PAGE_MESSAGES,
    FetchedMessage,
    FetchedPage,
    PageChanges,
    Unfetchable,
)
from emailsync.domain.uid_set import UidSet
from emailsync.providers.imap.connection import ImapConnection
from emailsync.providers.imap.fetching import BodyFetch, Overview, OverviewFetch
from emailsync.providers.imap.folder_state import FolderState

OVERVIEW_WINDOW: Final = 2_000
"""UIDs whose sizes are asked for at once: 0.2 MB of answers, one round trip in 20 pages."""
OVERVIEWS_ON_THE_WIRE: Final = 2
"""Of the window being fetched, and of the next: bodies never wait for sizes."""
BATCHES_ON_THE_WIRE: Final = 2
"""One being read, one waiting in the server: enough to hide a round trip, and bounds memory."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages fetched by one command and stored as one page."""

    messages: Sequence[Overview]
    headers_only: bool = False

    @property
    def size_bytes(self) -> int:
        """What the server announced for the batch; nothing worth counting for headers."""
        return 0 if self.headers_only else sum(message.size_bytes for message in self.messages)

    @property
    def is_large(self) -> bool:
        """Whether it holds one message over the size of a page."""
        return self.size_bytes > MAX_PAGE_BYTES


@dataclass(slots=True)
class BodyFetcher:
    """Fetches the messages of one selected folder after another; owned by one session.

    A message over the size of a page is fetched alone, and only one such message is under way in
    the whole daemon: `large_lane` is shared by all sessions and bounds their memory together.
    """

    connection: ImapConnection
    max_message_bytes: int
    large_lane: anyio.Semaphore
    lane_patience_s: float = 30.0  #: a message of 50 MiB takes so long at 14 Mbit/s
    _holds_lane: bool = field(default=False, init=False)

    async def pages(
        self, state: FolderState, uids: Sequence[int]
    ) -> AsyncGenerator[tuple[FetchedPage, int | None]]:
        """Yield pages of these messages in the order given, each with the last UID it covers.

        Where a failure ends a batch in the middle, what came of it is yielded with None, so that
        on a link that never lasts a batch each session still gets further; a message that ended
        the connection is reported as unfetchable there.

        Messages that are gone meanwhile are left out; one that the server refuses to give up
        is reported as unfetchable.
        """
        covered = None
        async with (
            aclosing(self._batches(uids)) as batches,
            aclosing(self._fetch(state, batches)) as fetched,
        ):
            async for page, uid in fetched:
                yield page, uid
                covered = uid
        if uids and covered != uids[-1]:
            yield FetchedPage(), uids[-1]

    def release(self) -> None:
        """Leave the lane; also what a session that ended early still has to do."""
        if self._holds_lane:
            self._holds_lane = False
            self.large_lane.release()

    async def _fetch(
        self, state: FolderState, batches: AsyncIterator[Batch]
    ) -> AsyncGenerator[tuple[FetchedPage, int | None]]:
        under_way: deque[tuple[Batch, BodyFetch]] = deque()
        waiting = await anext(batches, None)
        while waiting is not None or under_way:
            while waiting is not None and self._may_start(waiting, under_way):
                under_way.append((waiting, await self._start(waiting)))
                waiting = await anext(batches, None)
            large = under_way[0][0].is_large
            last_uid = under_way[0][0].messages[-1].uid
            page, failure = await _collect(state, *under_way.popleft())
            yield page, last_uid if failure is None else None
            if failure is not None:
                raise failure
            del page  # a large one is not held beside the next
            if large:
                yield FetchedPage(), last_uid  # returns when the large one is stored and forgotten
                self.release()

    async def _start(self, batch: Batch) -> BodyFetch:
        if batch.is_large:
            await self._enter_lane()
        uids = UidSet.of([message.uid for message in batch.messages])
        return self.connection.start_bodies(uids, headers_only=batch.headers_only)

    async def _enter_lane(self) -> None:
        """Wait for the lane, but not for ever: whoever is in it may have a server that trickles.

        Raises:
            Throttled: another account's large message takes too long; ours comes later.
        """
        with anyio.move_on_after(self.lane_patience_s):
            await self.large_lane.acquire()
            self._holds_lane = True
        if not self._holds_lane:
            raise Throttled("a large message has to wait for that of another account")

    def _may_start(self, batch: Batch, under_way: deque[tuple[Batch, BodyFetch]]) -> bool:
        if not under_way:
            return True
        return (
            len(under_way) < BATCHES_ON_THE_WIRE
            and not batch.is_large
            and not under_way[-1][0].is_large
        )

    async def _batches(self, uids: Sequence[int]) -> AsyncGenerator[Batch]:
        """Yield batches in the order given; the sizes of the next window are always on the way."""
        waiting = deque(
            uids[start : start + OVERVIEW_WINDOW] for start in range(0, len(uids), OVERVIEW_WINDOW)
        )
        asked: deque[tuple[Sequence[int], OverviewFetch]] = deque()
        while waiting or asked:
            while waiting and len(asked) < OVERVIEWS_ON_THE_WIRE:
                window = waiting.popleft()
                asked.append((window, self.connection.start_overview(UidSet.of(window))))
            window, overview = asked.popleft()
            there = {seen.uid: seen for seen in await overview.collect()}
            for batch in self._cut([there[uid] for uid in window if uid in there]):
                yield batch

    def _cut(self, messages: Iterable[Overview]) -> Iterator[Batch]:
        batch: list[Overview] = []
        size = 0
        for message in messages:
            if message.size_bytes > self.max_message_bytes:
                if batch:
                    yield Batch(batch)
                yield Batch([message], headers_only=True)
                batch, size = [], 0
                continue
            if batch and (
                len(batch) == MAX_PAGE_MESSAGES or size + message.size_bytes > MAX_PAGE_BYTES
            ):
                yield Batch(batch)
                batch, size = [], 0
            batch.append(message)
            size += message.size_bytes
        if batch:
            yield Batch(batch)


async def _collect(
    state: FolderState, batch: Batch, fetch: BodyFetch
) -> tuple[FetchedPage, SyncError | None]:
    try:
        whole = await fetch.collect()
    except SyncError as error:
        return _page(state, batch, fetch.received.contents, fetch.fatal()), error
    return _page(state, batch, whole.contents, whole.refused), None


def _page(
    state: FolderState, batch: Batch, bodies: Mapping[int, bytes], refused: Mapping[int, str]
) -> FetchedPage:
    return FetchedPage(
        messages=[
            FetchedMessage(
                remote_id=state.name(seen.uid),
                placements=state.place(seen.uid),
                flags=seen.flags,
                received_at=seen.received_at,
                size_bytes=seen.size_bytes if batch.headers_only else len(bodies[seen.uid]),
                raw=bodies[seen.uid],
                truncated=batch.headers_only,
                adopts=not batch.headers_only,
            )
            for seen in batch.messages
            if seen.uid in bodies
        ],
        changes=PageChanges(
            unfetchable=[
                Unfetchable(remote_id=state.name(uid), placement=state.place(uid)[0], reason=reason)
                for uid, reason in refused.items()
            ]
        ),
    )
