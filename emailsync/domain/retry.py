"""How long to wait after a failure. Who waits, and whether at all, is decided in decisions.py.

Jitter spreads those who failed together; it only ever lengthens a wait, so a figure of the
settings or of a provider is never undercut.
"""

from datetime import timedelta
from typing import Final

BACKOFF_FACTOR: Final = 5  #: 5 s, 25 s, 125 s
SHORTEST: Final = timedelta(seconds=1)
LONGEST: Final = timedelta(hours=1)  #: nobody who asks for ten years gets them
THROTTLE_WAIT: Final = timedelta(seconds=60)  #: when the provider names no longer time
SPREAD: Final = 0.2  #: share of a wait that jitter may add


def backoff(attempt: int, *, base: timedelta, jitter: float) -> timedelta:
    """Return the wait after the failure of attempt number `attempt`.

    Args:
        attempt: from 1.
        base: the wait after the first failure, before jitter.
        jitter: uniform in [0, 1).

    Raises:
        ValueError: `attempt` < 1.
    """
    if attempt < 1:
        raise ValueError(f"attempt={attempt} must be at least 1")
    steps = min(attempt - 1, 8)  # the cap is reached long before; the product stays finite
    return spread(min(base, LONGEST) * BACKOFF_FACTOR**steps, jitter=jitter)


def throttle_wait(retry_after: timedelta | None, *, jitter: float) -> timedelta:
    """Return the wait after a provider asked for a pause: never less than it asked, up to 1 h."""
    return spread(max(THROTTLE_WAIT, retry_after or timedelta()), jitter=jitter)


def spread(wait: timedelta, *, jitter: float) -> timedelta:
    """Return `wait` lengthened by up to a fifth, within the shortest and the longest wait."""
    floor = min(max(wait, SHORTEST), LONGEST)
    return min(floor * (1 + SPREAD * jitter), LONGEST)
