import asyncio
import time
from array import array
from collections.abc import Coroutine
from typing import Any

import pytest

from emailsync.domain.errors import ServerRefused
from emailsync.domain.uid_set import UidSet
from emailsync.providers.imap import uid_listing
from emailsync.providers.imap.uid_listing import expand, leave_out, read_search, read_uid_set

MILLION = 1_000_000


async def longest_turn_s(work: Coroutine[Any, Any, object]) -> float:
    """Run `work`; return the longest CPU time it kept the loop from another task."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        before = time.process_time()
        while True:
            await asyncio.sleep(0)
            now = time.process_time()
            longest, before = max(longest, now - before), now

    async with asyncio.TaskGroup() as tasks:
        watcher = tasks.create_task(watch())
        await work
        watcher.cancel()
    return longest


@pytest.mark.parametrize(
    ("lines", "first", "uids"),
    [
        ([b"1 2 3"], 1, [1, 2, 3]),
        ([b"3 1 2", b"2 9"], 1, [1, 2, 3, 9]),
        ([], 1, []),
        ([b"", b" "], 1, []),
        ([b"7 7 7"], 1, [7]),
        ([b"44"], 45, []),
        ([b"0 5 4294967296"], 1, [5]),
        ([b"4294967295 1"], 1, [1, 4294967295]),
    ],
)
async def test_searches_of_every_shape_become_one_ascending_list(
    lines: list[bytes], first: int, uids: list[int]
) -> None:
    assert list(await read_search(lines, first=first)) == uids


async def test_long_searches_are_read_across_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uid_listing, "SLICE_CHARS", 7)
    backwards = range(5_000, 0, -1)

    found = await read_search([" ".join(map(str, backwards)).encode()], first=1)

    assert list(found) == list(range(1, 5_001))


async def test_a_search_that_holds_no_number_is_refused_as_a_whole() -> None:
    with pytest.raises(ServerRefused):
        await read_search([b"1 2 x"], first=1)


async def test_a_sequence_set_of_any_length_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uid_listing, "SLICE_CHARS", 7)

    assert await read_uid_set("1:5,9,11:12,6") == UidSet.parse("1:6,9,11:12")


async def test_an_unreadable_sequence_set_is_refused() -> None:
    with pytest.raises(ServerRefused):
        await read_uid_set("1:5,what")


async def test_a_range_that_nobody_can_hold_is_refused_unexpanded() -> None:
    with pytest.raises(ServerRefused):
        await expand(UidSet.parse("1:4294967295"), first=1)


async def test_expanding_starts_where_it_was_asked_to() -> None:
    assert list(await expand(UidSet.parse("1:3,7,9"), first=3)) == [3, 7, 9]


@pytest.mark.parametrize("step", [1, -1])
async def test_a_million_numbers_do_not_hold_the_loop_up(step: int) -> None:
    numbers = b" ".join(b"%d" % uid for uid in range(1, MILLION + 1)[::step])

    assert await longest_turn_s(read_search([numbers], first=1)) < 0.05


async def test_a_million_ranges_do_not_hold_the_loop_up() -> None:
    text = ",".join(str(uid) for uid in range(1, 2 * MILLION, 2))

    assert await longest_turn_s(read_uid_set(text)) < 0.05


async def test_known_numbers_are_left_out_of_a_long_listing() -> None:
    listed, known = array("I", range(1, MILLION)), set(range(2, MILLION))
    left: list[array[int]] = []

    async def work() -> None:
        left.append(await leave_out(listed, known))

    assert await longest_turn_s(work()) < 0.05
    assert left == [array("I", [1])]
