"""What an emulated provider was asked for: requests, units, refusals, and their peaks.

Also what its quotas are enforced by, so that limit and report cannot disagree.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

TOO_MANY_REQUESTS = 429


class SlidingSum:
    """Amounts of the last `window_s` seconds, and the most that any such window held."""

    def __init__(self, window_s: float) -> None:
        self.peak = 0
        self._window_s = window_s
        self._amounts: deque[tuple[float, int]] = deque()
        self._sum = 0

    def total(self, now: float) -> int:
        """Return the sum of the window that ends `now`."""
        while self._amounts and self._amounts[0][0] <= now - self._window_s:
            self._sum -= self._amounts.popleft()[1]
        return self._sum

    def add(self, now: float, amount: int) -> None:
        """Count an amount; `now` never goes back."""
        self._amounts.append((now, amount))
        self._sum += amount
        self.peak = max(self.peak, self.total(now))


class Usage:
    """Counters of one provider since its start or the last `reset`.

    A request is one over HTTP; a call is what a batch may hold many of. Quotas count units of
    calls, sliding over a window per mailbox and one for the project (the client's application).
    """

    def __init__(
        self,
        *,
        mailbox_window_s: float = 60,
        project_window_s: float = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._windows = mailbox_window_s, project_window_s
        self._clock = clock
        self._running: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget everything, the windows included; calls under way go on being counted."""
        mailbox_window_s, project_window_s = self._windows
        self.requests: Counter[str] = Counter()  #: HTTP requests by route, refused ones too
        self.calls: Counter[str] = Counter()  #: by name of the provider's method, served or not
        self.statuses: Counter[int] = Counter()  #: of requests, and of calls within batches
        self.units = 0  #: of all calls that were let in
        self._mailbox_units = defaultdict[str, SlidingSum](lambda: SlidingSum(mailbox_window_s))
        self._project_units = SlidingSum(project_window_s)
        self.peak_running: Counter[str] = Counter()  #: calls at the same time, by mailbox

    def spend(self, mailbox: str, units: int) -> None:
        """Count the units of a call that is let in."""
        now = self._clock()
        self.units += units
        self._mailbox_units[mailbox].add(now, units)
        self._project_units.add(now, units)

    def mailbox_units(self, mailbox: str) -> int:
        """Return what the mailbox has used in the window that ends now."""
        return self._mailbox_units[mailbox].total(self._clock())

    def project_units(self) -> int:
        """Return what all mailboxes have used in the window that ends now."""
        return self._project_units.total(self._clock())

    def peak_mailbox_units(self, mailbox: str | None = None) -> int:
        """Return the most that any window held of this mailbox, with None of any mailbox."""
        if mailbox is not None:
            return self._mailbox_units[mailbox].peak
        return max((units.peak for units in self._mailbox_units.values()), default=0)

    @property
    def peak_project_units(self) -> int:
        """Return the most that any window held of all mailboxes together."""
        return self._project_units.peak

    @property
    def throttled(self) -> int:
        """Return how often 429 was answered."""
        return self.statuses[TOO_MANY_REQUESTS]

    def running(self, mailbox: str) -> int:
        """Return how many of the mailbox's calls are under way."""
        return self._running[mailbox]

    @contextmanager
    def call_under_way(self, mailbox: str) -> Iterator[None]:
        """Count a call while the context lasts."""
        self._running[mailbox] += 1
        self.peak_running[mailbox] = max(self.peak_running[mailbox], self._running[mailbox])
        try:
            yield
        finally:
            self._running[mailbox] -= 1

    def summary(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "requests": dict(self.requests),
            "calls": dict(self.calls),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "units": self.units,
            "peak_mailbox_units": {
                mailbox: units.peak for mailbox, units in self._mailbox_units.items()
            },
            "peak_project_units": self.peak_project_units,
            "peak_running": dict(self.peak_running),
            "throttled": self.throttled,
        }
