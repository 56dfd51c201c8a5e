"""Sets of IMAP UIDs as sorted ranges, in memory and on the wire; never expanded.

A server may say `1:4294967295` in 14 bytes, so nothing here costs more than the number of ranges.
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Self

MAX_UID: Final = 2**32 - 1  #: RFC 9051 section 9, nz-number
_SYNTAX: Final = re.compile(r"[0-9:,*]*")


class UidSet:
    """An immutable set of UIDs; equal sets have equal ranges.

    Ranges are two arrays of 4 bytes a number: a sparse mailbox of a million messages is 8 MB.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """Take inclusive ranges in any order; what lies outside 1..MAX_UID is left out.

        Args:
            ranges: pairs, each in either order (RFC 9051 section 9: `2:4` and `4:2` are the same).
        """
        self._firsts = array("I")
        self._lasts = array("I")
        late = self._append_ascending(ranges)
        if late:
            everything = sorted([*self.ranges(), *late])
            self._firsts, self._lasts = array("I"), array("I")
            self._append_ascending(everything)

    def _append_ascending(self, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Append the ranges; return those that begin before the ones already there."""
        firsts, lasts = self._firsts, self._lasts
        late: list[tuple[int, int]] = []
        begin, end = 0, -1  # of the last range so far
        for one, other in ranges:
            first, last = (one, other) if one <= other else (other, one)
            first, last = max(first, 1), min(last, MAX_UID)
            if first > last:
                continue
            if first > end + 1:
                begin, end = first, last
                firsts.append(begin)
                lasts.append(end)
            elif first >= begin:
                end = lasts[-1] = max(end, last)
            else:
                late.append((first, last))
        return late

    @classmethod
    def of(cls, uids: Iterable[int]) -> Self:
        """Return the set of these UIDs."""
        return cls((uid, uid) for uid in uids)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a sequence-set as servers write it; `*` counts as the highest possible UID.

        Raises:
            ValueError: not a sequence-set (RFC 9051 section 9). Empty pieces are forgiven.
        """
        if not _SYNTAX.fullmatch(text):
            raise ValueError("not a sequence-set")
        return cls(_pairs(text))

    @classmethod
    def union(cls, sets: Iterable["UidSet"]) -> Self:
        """Return everything that is in any of the sets; cheap for sets that follow each other."""
        joined = cls()
        for each in sorted(filter(None, sets), key=lambda each: each.first):
            if joined and each.first <= joined.last + 1:
                joined = cls([*joined.ranges(), *each.ranges()])
            else:
                joined._firsts.extend(each._firsts)  # noqa: SLF001 (its own class)
                joined._lasts.extend(each._lasts)  # noqa: SLF001 (the same)
        return joined

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the inclusive ranges, ascending, apart by at least one UID."""
        return zip(self._firsts, self._lasts, strict=True)

    @property
    def first(self) -> int:
        """The lowest member. Raises IndexError when there is none."""
        return self._firsts[0]

    @property
    def last(self) -> int:
        """The highest member. Raises IndexError when there is none."""
        return self._lasts[-1]

    @property
    def count(self) -> int:
        """How many UIDs the ranges cover."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __contains__(self, uid: int) -> bool:
        at = bisect_right(self._firsts, uid) - 1
        return at >= 0 and uid <= self._lasts[at]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UidSet):
            return NotImplemented
        return self._firsts == other._firsts and self._lasts == other._lasts

    def __hash__(self) -> int:
        return hash((self._firsts.tobytes(), self._lasts.tobytes()))

    def __repr__(self) -> str:
        return f"UidSet({next(self.wire(80), '')!r})"

    def among(self, known: Sequence[int]) -> Iterator[int]:
        """Yield the members of `known` that are in this set; cheap for few of them and any set."""
        return (uid for uid in known if uid in self)

    def minus(self, other: "UidSet") -> "UidSet":
        """Return what is in this set but not in the other."""
        left: list[tuple[int, int]] = []
        cuts = list(other.ranges())
        at = 0
        for first, last in self.ranges():
            while at < len(cuts) and cuts[at][1] < first:
                at += 1
            start, look = first, at
            while look < len(cuts) and cuts[look][0] <= last:
                left.append((start, cuts[look][0] - 1))
                start = cuts[look][1] + 1
                look += 1
            left.append((start, last))
        return UidSet((a, b) for a, b in left if a <= b)

    def halves(self) -> tuple["UidSet", "UidSet"]:
        """Return the lower and the upper half by count; the lower is empty for a single UID."""
        wanted = self.count // 2
        lower: list[tuple[int, int]] = []
        for first, last in self.ranges():
            if wanted == 0:
                break
            end = min(last, first + wanted - 1)
            lower.append((first, end))
            wanted -= end - first + 1
        low = UidSet(lower)
        return low, self.minus(low)

    def wire(self, max_chars: int) -> Iterator[str]:
        """Yield sequence-sets that together are this set, none longer than `max_chars`.

        Args:
            max_chars: at least 21, the longest single range.
        """
        pieces: list[str] = []
        length = 0
        for first, last in self.ranges():
            piece = str(first) if first == last else f"{first}:{last}"
            if pieces and length + len(piece) + 1 > max_chars:
                yield ",".join(pieces)
                pieces, length = [], 0
            length += len(piece) + bool(pieces)
            pieces.append(piece)
        if pieces:
            yield ",".join(pieces)


def _pairs(text: str) -> Iterator[tuple[int, int]]:
    for piece in text.replace("*", str(MAX_UID)).split(","):
        if piece:
            first, colon, last = piece.partition(":")
            yield int(first), int(last) if colon else int(first)
