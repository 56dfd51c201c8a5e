"""Long lists of UIDs, read in slices: a million numbers never hold the event loop up.

One slice is some milliseconds of work; between two of them everybody else gets a turn.
"""

import asyncio
from array import array
from collections.abc import AsyncIterator, Container, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice, pairwise
from typing import Final

from emailsync.domain.errors import ServerRefused
from emailsync.domain.uid_set import MAX_UID, UidSet

SLICE_CHARS: Final = 100_000  #: about 12,000 numbers: 3 ms, or 10 ms of ranges
SLICE_NUMBERS: Final = 10_000
MAX_UIDS: Final = 10_000_000  #: of one folder; `ALL 1:4294967295` would be more memory than we have


async def read_search(lines: Iterable[bytes], *, first: int) -> "array[int]":
    """Return the numbers of SEARCH lines that are at least `first`: ascending, each once.

    Raises:
        ServerRefused: something is no number, or there are more than `MAX_UIDS`.
    """
    runs: list[array[int]] = []
    total = 0
    for line in lines:
        for piece in _pieces(line, b" "):
            run = _numbers(piece, first)
            total += len(run)
            if total > MAX_UIDS:
                raise ServerRefused("the server lists more messages than can be handled")
            if run:
                runs.append(run)
            await asyncio.sleep(0)
    return await _joined(runs)


def _numbers(piece: bytes, first: int) -> "array[int]":
    try:
        numbers = sorted(set(map(int, piece.split())))
    except ValueError as error:
        raise ServerRefused("the server's search answer cannot be read") from error
    if numbers and (numbers[0] < first or numbers[-1] > MAX_UID):
        # `n:*` names the last message even where it lies below n (RFC 9051 section 6.4.8).
        numbers = [number for number in numbers if first <= number <= MAX_UID]
    return array("I", numbers)


async def _joined(runs: Sequence["array[int]"]) -> "array[int]":
    joined: array[int] = array("I")
    if all(left[-1] < right[0] for left, right in pairwise(runs)):
        for run in runs:
            joined.extend(run)
        return joined
    merged = merge(*runs)  # a server that does not sort
    while batch := array("I", islice(merged, SLICE_NUMBERS)):
        joined.extend(batch)
        await asyncio.sleep(0)
    return array("I", [uid async for uid in _once_each(joined)])


async def _once_each(ascending: "array[int]") -> AsyncIterator[int]:
    last = 0
    for position, uid in enumerate(ascending):
        if position % SLICE_NUMBERS == 0:
            await asyncio.sleep(0)
        if uid != last:
            yield uid
        last = uid


async def read_uid_set(text: str) -> UidSet:
    """Read a sequence-set of any length.

    Raises:
        ServerRefused: it is none.
    """
    sets: list[UidSet] = []
    for piece in _pieces(text.encode("latin-1"), b","):
        try:
            sets.append(UidSet.parse(piece.decode("latin-1")))
        except ValueError as error:
            raise ServerRefused("the server's list of messages cannot be read") from error
        await asyncio.sleep(0)
    return UidSet.union(sets)


async def expand(uids: UidSet, *, first: int) -> "array[int]":
    """Return the members that are at least `first`, ascending.

    Raises:
        ServerRefused: there are more than `MAX_UIDS`.
    """
    if uids.count > MAX_UIDS:
        raise ServerRefused("the server lists more messages than can be handled")
    expanded: array[int] = array("I")
    for number, (start, end) in enumerate(uids.ranges()):
        for low in range(max(start, first), end + 1, SLICE_NUMBERS):
            expanded.extend(range(low, min(end + 1, low + SLICE_NUMBERS)))
            if end - low >= SLICE_NUMBERS:
                await asyncio.sleep(0)
        if number % SLICE_NUMBERS == 0:
            await asyncio.sleep(0)
    return expanded


async def leave_out(uids: "array[int]", known: Container[int | None]) -> "array[int]":
    """Return the UIDs that are not among the known ones, in their order."""
    left: array[int] = array("I")
    for start in range(0, len(uids), SLICE_NUMBERS):
        left.extend([uid for uid in uids[start : start + SLICE_NUMBERS] if uid not in known])
        await asyncio.sleep(0)
    return left


def _pieces(text: bytes, separator: bytes) -> Iterator[bytes]:
    """Cut at separators into pieces of about `SLICE_CHARS`."""
    start = 0
    while start < len(text):
        end = text.find(separator, start + SLICE_CHARS)
        if end < 0:
            end = len(text)
        yield text[start:end]
        start = end + 1
