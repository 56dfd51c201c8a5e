"""The way of a session's pages into the store."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import pytest

from clock import SettableClock
from emailsync.domain.accounts import AccountId, AccountKey, Lease, TenantId
from emailsync.domain.errors import ServerRefused, StoreUnavailable, SyncError
from emailsync.domain.folders import AccountCursor, FolderId
from emailsync.domain.mail import Flags, ParsedMessage
from emailsync.domain.pages import (
    FetchedMessage,
    FetchedPage,
    FolderCheck,
    PageChanges,
    PageResult,
    ReadyPage,
)
from emailsync.ports import Turn
from emailsync.sync.pipeline import Pipeline
from emailsync.sync.progress import Progress

LEASE = Lease(AccountKey(TenantId("acme"), AccountId(uuid4())), epoch=1)
FOLDER = FolderId(1)


@dataclass
class RecordingStore:
    """Remembers what was applied; fails with `failure` at page number `fails_at`."""

    applied: list[ReadyPage] = field(default_factory=list)
    fails_at: int | None = None
    stored_count: int | None = None

    async def apply(self, lease: Lease, page: ReadyPage, turn: Turn) -> PageResult:
        assert lease == LEASE
        await turn.wait()
        if len(self.applied) == self.fails_at:
            raise StoreUnavailable("the disk is full")
        self.applied.append(page)
        return PageResult(created=len(page.messages), stored_count=self.stored_count)


class SubjectParser:
    """Reads a message as its own subject."""

    async def parse_page(
        self, raws: Sequence[bytes], *, careful: bool = False
    ) -> Sequence[ParsedMessage]:
        assert not careful
        return [ParsedMessage(subject=raw.decode()) for raw in raws]


def message(text: str) -> FetchedMessage:
    return FetchedMessage(
        remote_id=text,
        placements=(),
        flags=Flags(),
        received_at=None,
        size_bytes=len(text),
        raw=text.encode(),
    )


def pipeline_into(store: RecordingStore, progress: Progress) -> Pipeline:
    return Pipeline(store, SubjectParser(), LEASE, progress, careful=False)  # type: ignore[arg-type]  # only apply is used


async def pages_of(
    *pages: FetchedPage, then: SyncError | None = None
) -> AsyncGenerator[FetchedPage]:
    for page in pages:
        yield page
    if then is not None:
        raise then


async def test_pages_are_parsed_and_applied_in_order(clock: SettableClock) -> None:
    store, progress = RecordingStore(), Progress.start(clock)
    pages = [FetchedPage(messages=[message(f"{n}")]) for n in range(5)]

    more = await pipeline_into(store, progress).run(pages_of(*pages))

    assert not more
    assert [page.messages[0].parsed.subject for page in store.applied] == list("01234")
    assert (progress.counts.created, progress.counts.pages) == (5, 5)
    assert progress.counts.fetched_bytes == 5


async def test_a_page_without_messages_is_applied_before_the_session_goes_on(
    clock: SettableClock,
) -> None:
    """A session reads the store after such a page and relies on what it finds."""
    store = RecordingStore()
    seen: list[int] = []

    async def pages() -> AsyncGenerator[FetchedPage]:
        yield FetchedPage(messages=[message("a")])
        yield FetchedPage()
        seen.append(len(store.applied))

    await pipeline_into(store, Progress.start(clock)).run(pages())

    assert seen == [2]


async def test_an_account_cursor_is_stored_once_until_it_moves(clock: SettableClock) -> None:
    store = RecordingStore()
    cursors = [AccountCursor(last_sync_uid=text) for text in ("1:5", "1:5", "1:6", "1:5")]
    pages = [
        FetchedPage(messages=[message("a")], changes=PageChanges(account_cursor=cursor))
        for cursor in cursors
    ]

    await pipeline_into(store, Progress.start(clock)).run(pages_of(*pages))

    stored = [page.changes.account_cursor for page in store.applied]
    assert stored == [cursors[0], None, cursors[2], cursors[3]]


async def test_a_failing_store_ends_the_run_with_its_own_error(clock: SettableClock) -> None:
    store = RecordingStore(fails_at=1)
    pages = [FetchedPage(messages=[message(f"{n}")]) for n in range(5)]

    with pytest.raises(StoreUnavailable):
        await pipeline_into(store, Progress.start(clock)).run(pages_of(*pages))

    assert len(store.applied) == 1


async def test_what_came_before_a_failure_of_the_session_stays(clock: SettableClock) -> None:
    store, progress = RecordingStore(), Progress.start(clock)
    pages = pages_of(FetchedPage(messages=[message("a")]), then=ServerRefused("no"))

    with pytest.raises(ServerRefused):
        await pipeline_into(store, progress).run(pages)

    assert progress.counts.created == 1


async def test_the_quantum_ends_a_run_between_two_pages(clock: SettableClock) -> None:
    store, progress = RecordingStore(), Progress.start(clock, timedelta(seconds=10))
    closed = False

    async def pages() -> AsyncGenerator[FetchedPage]:
        nonlocal closed
        try:
            for text in "abc":
                clock.advance(timedelta(seconds=6))
                yield FetchedPage(messages=[message(text)])
        finally:
            closed = True

    more = await pipeline_into(store, progress).run(pages())

    assert more
    assert len(store.applied) == 2
    assert closed


async def test_a_count_that_differs_from_the_servers_is_remembered(clock: SettableClock) -> None:
    store = RecordingStore(stored_count=9)
    check = FolderCheck(folder_id=FOLDER, remote_count=10)
    pipeline = pipeline_into(store, Progress.start(clock))

    await pipeline.run(pages_of(FetchedPage(changes=PageChanges(check=check))))

    assert pipeline.mismatched == {check.folder_id}
