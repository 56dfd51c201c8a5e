"""The machine's clocks, for whoever is not given a test's."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Tells the time as the machine knows it."""

    def now(self) -> datetime:
        """Return the wall clock, aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()
