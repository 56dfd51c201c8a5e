"""How often somebody may do something: a bucket for each, emptied by use and filled by time."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from emailsync.ports import Clock

REMEMBERED: Final = 10_000  #: of them; the one that was quiet the longest is forgotten


class Buckets:
    """Counts what each does.

    Args:
        clock: by which they fill.
        size: how much may be done at once.
        refilled_every_s: by one.
    """

    def __init__(self, clock: Clock, *, size: int, refilled_every_s: float) -> None:
        self._clock = clock
        self._refilled_every_s = refilled_every_s
        self._spare_s = (size - 1) * refilled_every_s
        self._full_at_s: OrderedDict[Hashable, float] = OrderedDict()

    def wait_s(self, who: Hashable) -> float:
        """Return how long it is put off; 0 when it may do it once more."""
        empty_for_s = self._full_at_s.get(who, 0) - self._clock.monotonic()
        return max(0.0, empty_for_s - self._spare_s)

    def note(self, who: Hashable) -> None:
        """Count that it has done it."""
        now_s = self._clock.monotonic()
        full_at_s = max(now_s, self._full_at_s.get(who, now_s))
        self._full_at_s[who] = full_at_s + self._refilled_every_s
        self._full_at_s.move_to_end(who)
        if len(self._full_at_s) > REMEMBERED:
            self._full_at_s.popitem(last=False)
