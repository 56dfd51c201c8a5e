"""What changed in one folder, or in the hierarchy of folders, in order: what delta queries read.

An item has one place in the order, that of its last change, as in Exchange: a round that has passed
the old place meets the item again at the new one.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Change(StrEnum):
    """What happened to an item, as far as its folder is concerned."""

    ARRIVED = "arrived"
    ALTERED = "altered"
    READ = "read"  #: isRead changed and nothing else
    DELETED = "deleted"
    LEFT = "changed"  #: moved to another folder


@dataclass(slots=True)
class Track:
    """The last that is known of an item that has changed."""

    at: int  #: the number of its last change
    arrived: int = 0  #: of the change that brought it; 0: it lay there from the start
    altered: int = 0  #: of the last change to more than isRead
    gone: Change | None = None
    moves: int = 0  #: of the item by then, which its regular id tells
    is_lost: bool = False  #: came back, but is not reported any more


class ChangeFeed:
    """The changes of one folder since it was made."""

    def __init__(self) -> None:
        self._order: list[tuple[int, int]] = []  #: (number of the change, item)
        self._tracks: dict[int, Track] = {}

    def record(
        self, at: int, item: int, change: Change, *, moves: int = 0, loses_returned: bool = False
    ) -> None:
        """Remember a change; `at` only grows.

        With `loses_returned` an item that comes back stays reported as gone, and nothing more is
        told of it (microsoft-graph-docs issue 21752).
        """
        track = self._tracks.setdefault(item, Track(at))
        if track.is_lost:
            return
        if change is Change.ARRIVED and track.gone and loses_returned:
            track.is_lost = True
            return
        track.at, track.moves, track.gone = at, moves, None
        if change in {Change.DELETED, Change.LEFT}:
            track.gone = change
        elif change is Change.ARRIVED:
            track.arrived = track.altered = at
        elif change is Change.ALTERED:
            track.altered = at
        self._order.append((at, item))

    def after(self, at: int) -> Iterator[tuple[int, Track]]:
        """Yield items and tracks of the changes after `at`, in order."""
        for number, item in self._order[bisect_right(self._order, at, key=lambda c: c[0]) :]:
            track = self._tracks[item]
            if track.at == number:
                yield item, track
