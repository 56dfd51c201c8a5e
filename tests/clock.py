"""A clock that stands still until the test moves it."""

from datetime import UTC, datetime, timedelta


class SettableClock:
    """An `emailsync.ports.Clock`: both its times move together, and only by `advance`."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> datetime:
        """Return the wall clock, aware UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds advanced since the clock was made."""
        return self._monotonic

    def advance(self, by: timedelta) -> None:
        """Let time pass at once."""
        self._now += by
        self._monotonic += by.total_seconds()
