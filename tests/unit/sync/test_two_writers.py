"""Two pages are applied at a time, and committed in their order."""

import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

import anyio
import pytest

from clock import SettableClock
from emailsync.domain.accounts import AccountId, AccountKey, Lease, TenantId
from emailsync.domain.errors import LeaseLost, StoreUnavailable
from emailsync.domain.mail import Flags, ParsedMessage
from emailsync.domain.pages import FetchedMessage, FetchedPage, PageResult, ReadyPage
from emailsync.ports import Turn
from emailsync.sync.pipeline import WRITERS, PageParser, Pipeline
from emailsync.sync.progress import Progress

LEASE = Lease(AccountKey(TenantId("acme"), AccountId(uuid4())), epoch=1)
RAW = bytes(8 * 1024 * 1024)  #: takes a while to be hashed
PATIENCE_S = 5  #: a pipeline that does not overlap would wait for ever


@dataclass
class TwoStepStore:
    """Inserts at once and commits when the turn has come; `before_insert` may hold or fail."""

    before_insert: Callable[[str], Awaitable[None]]
    inserted: list[str] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)

    async def apply(self, _lease: Lease, page: ReadyPage, turn: Turn) -> PageResult:
        name = page.messages[0].fetched.remote_id
        await self.before_insert(name)
        self.inserted.append(name)
        await turn.wait()
        self.committed.append(name)
        return PageResult(created=1)


class NoParser:
    """Reads nothing."""

    async def parse_page(
        self, raws: Sequence[bytes], *, careful: bool = False
    ) -> Sequence[ParsedMessage]:
        assert not careful
        return [ParsedMessage() for _ in raws]


class StuckParser(NoParser):
    """Comes to no end with the page behind those that the writers have."""

    def __init__(self) -> None:
        self.pages = 0
        self.is_stuck = anyio.Event()

    async def parse_page(
        self, raws: Sequence[bytes], *, careful: bool = False
    ) -> Sequence[ParsedMessage]:
        self.pages += 1
        if self.pages > WRITERS:
            self.is_stuck.set()
            await anyio.sleep_forever()
        return await super().parse_page(raws, careful=careful)


async def pages(names: str) -> AsyncGenerator[FetchedPage]:
    for name in names:
        message = FetchedMessage(
            remote_id=name,
            placements=(),
            flags=Flags(),
            received_at=None,
            size_bytes=0,
            raw=RAW,
        )
        yield FetchedPage(messages=[message])


async def run(
    store: TwoStepStore, names: str, clock: SettableClock, parser: PageParser | None = None
) -> None:
    progress = Progress.start(clock)
    pipeline = Pipeline(store, parser or NoParser(), LEASE, progress, careful=False)  # type: ignore[arg-type]  # only apply is used
    with anyio.fail_after(PATIENCE_S):
        await pipeline.run(pages(names))


async def test_a_page_is_inserted_before_the_one_in_front_of_it_and_committed_after_it(
    clock: SettableClock,
) -> None:
    b_is_inserted = anyio.Event()

    async def hold_a_back(name: str) -> None:
        if name == "a":
            await b_is_inserted.wait()
        if name == "b":
            b_is_inserted.set()

    store = TwoStepStore(hold_a_back)
    await run(store, "abcd", clock)

    assert store.inserted[:2] == ["b", "a"]
    assert store.committed == list("abcd")


async def test_nothing_is_committed_behind_a_page_that_fails(clock: SettableClock) -> None:
    c_is_inserted = anyio.Event()

    async def fail_b_late(name: str) -> None:
        if name == "b":
            await c_is_inserted.wait()
            raise LeaseLost("somebody else has it")
        if name == "c":
            c_is_inserted.set()

    store = TwoStepStore(fail_b_late)
    with pytest.raises(LeaseLost):
        await run(store, "abcd", clock)

    assert store.committed == ["a"]


async def test_a_page_that_fails_early_lets_the_one_in_front_of_it_finish(
    clock: SettableClock,
) -> None:
    b_failed = anyio.Event()

    async def fail_b_early(name: str) -> None:
        if name == "a":
            await b_failed.wait()
        if name == "b":
            b_failed.set()
            raise StoreUnavailable("the disk is full")

    store = TwoStepStore(fail_b_early)
    with pytest.raises(StoreUnavailable):
        await run(store, "abcd", clock)

    assert store.committed == ["a"]


async def test_a_message_named_by_two_pages_in_a_row_is_not_inserted_by_both_at_a_time(
    clock: SettableClock,
) -> None:
    """The page in front would wait for the row of the one behind, which waits for its turn."""
    committed_before: list[list[str]] = []

    async def let_others_go_as_far_as_they_can(_name: str) -> None:
        committed_before.append(list(store.committed))
        await anyio.wait_all_tasks_blocked()

    store = TwoStepStore(let_others_go_as_far_as_they_can)
    await run(store, "aab", clock)

    assert committed_before == [[], ["a"], ["a"]]


@pytest.mark.parametrize("failing", ["a", "ab"])
async def test_no_page_is_in_memory_once_a_run_has_failed(
    clock: SettableClock, failing: str
) -> None:
    """Left to the garbage collector, what all accounts had under way would fill the memory."""
    parser = StuckParser()

    async def fail(name: str) -> None:
        await parser.is_stuck.wait()
        if name in failing:
            raise StoreUnavailable("the database is gone")
        await anyio.sleep_forever()

    gc.collect()
    gc.disable()
    try:
        with suppress(StoreUnavailable):
            await run(TwoStepStore(fail), "abc", clock, parser)
        left = [each for each in gc.get_objects() if type(each) in (FetchedPage, ReadyPage)]
    finally:
        gc.enable()

    assert left == []
