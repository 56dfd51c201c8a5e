"""Units spent in any window of time, as the server may count them; who asks first goes first.

A request may reach the server at any time before its answer has reached us. So its units count
from the moment they are taken until a whole window after the answer, and the server never sees
more than the limit in a window, wherever it lets one begin.

aiolimiter does not do: its bucket lets a burst through on top of the rate, its waiters overtake
each other by amount, and its rate cannot change (1.3.0). anyio has locks and slots, but no windows.
"""

from bisect import insort
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import anyio

from emailsync.domain.errors import QuotaSpent, Retryable

GRAINS: Final = 100  #: ends within a hundredth of a window are remembered as one, the latest
TICK_S: Final = 0.001  #: a timer may fire as much too early


class SlidingWindow:
    """The units of one mailbox, or of the project. Used by one event loop."""

    def __init__(self, name: str, limit: Callable[[], float], window_s: float) -> None:
        """Make an empty window.

        Args:
            name: what it counts, for messages.
            limit: units in any window; asked each time, so a reload is in force at once.
            window_s: its length in seconds.
        """
        self.limit = limit
        self._name = name
        self._window_s = window_s
        self._grain_s = window_s / GRAINS
        self._answered: deque[tuple[float, int]] = deque()  #: until when they count, units
        self._spent = 0  #: the units in `_answered`
        self._in_flight = 0  #: units taken, not answered
        self._queued = 0  #: units that somebody waits for
        self._paused_until = 0.0
        self._turn = anyio.Lock()

    async def take(self, units: int, *, until: float) -> None:
        """Take units, waiting for others that wait already and for time, but not past `until`.

        Args:
            units: what the request costs; give them back by `answered` or `unsent`.
            until: by the event loop's time, in seconds.

        Raises:
            QuotaSpent: they do not free by then.
            Retryable: they never will: it is more than the limit.
        """
        if units > self.limit():
            raise Retryable(f"one request costs more than our {self._name} quota allows at all")
        self._check(self._queued + units, until)
        self._queued += units
        try:
            async with self._turn:
                wait_s = self._check(units, until)
                while wait_s > 0:
                    await anyio.sleep(wait_s + TICK_S)
                    wait_s = self._check(units, until)
                self._in_flight += units
        finally:
            self._queued -= units

    def answered(self, units: int) -> None:
        """Let taken units count for one more window: the answer has come, or none will."""
        self._in_flight -= units
        self._spent += units
        counts_until = self._counts_until(anyio.current_time())
        if self._answered and self._answered[-1][0] == counts_until:
            units += self._answered.pop()[1]
        self._answered.append((counts_until, units))

    def recall(self, units: int, *, seconds_ago: float) -> None:
        """Count units that were spent elsewhere, the last of them so long ago."""
        counts_until = self._counts_until(anyio.current_time() - max(0, seconds_ago))
        if counts_until > anyio.current_time():
            insort(self._answered, (counts_until, units))
            self._spent += units

    def unsent(self, units: int) -> None:
        """Give back taken units that the server never heard of."""
        self._in_flight -= units

    def pause(self, pause: timedelta) -> None:
        """Let nobody take units for a time, or for longer when a longer pause is kept already."""
        until = anyio.current_time() + pause.total_seconds()
        self._paused_until = max(self._paused_until, until)

    @property
    def left(self) -> float:
        """The units that can be taken now, where no pause is kept."""
        return max(0, self.limit() - self.used)

    @property
    def used(self) -> int:
        """The units that count now: spent, under way, or waited for."""
        self._forget(anyio.current_time())
        return self._spent + self._in_flight + self._queued

    @property
    def is_idle(self) -> bool:
        """Whether it may be forgotten: nothing counts, nobody waits, no pause is kept."""
        now = anyio.current_time()
        self._forget(now)
        return not (self._spent or self._in_flight or self._queued) and self._paused_until <= now

    def _check(self, units: int, until: float) -> float:
        """Return how long to wait until the units are free, in seconds."""
        now = anyio.current_time()
        wait_s = max(self._free_at(units, now), self._paused_until) - now
        if wait_s > 0 and now + wait_s > until:
            raise QuotaSpent(f"our {self._name} quota is used up", timedelta(seconds=wait_s))
        return wait_s

    def _free_at(self, units: int, now: float) -> float:
        self._forget(now)
        missing = self._spent + self._in_flight + units - self.limit()
        if missing <= 0:
            return now
        for counts_until, freed in self._answered:
            missing -= freed
            if missing <= 0:
                return counts_until
        return now + self._window_s  # of what is in flight, and counts for at least so long

    def _counts_until(self, end: float) -> float:
        return (end // self._grain_s + 1) * self._grain_s + self._window_s

    def _forget(self, now: float) -> None:
        while self._answered and self._answered[0][0] <= now:
            self._spent -= self._answered.popleft()[1]
