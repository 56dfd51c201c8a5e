"""How often an address may present a wrong token before it is put off: a bucket for each address.

A token that is right is never put off: behind a proxy everybody has the same address, and a wrong
guess of somebody's must not lock the others out.
"""

from collections import OrderedDict
from typing import Final

from emailsync.ports import Clock

ALLOWED: Final = 10  #: wrong tokens at once; a client with an old token tries a few times
REFILLED_EVERY_S: Final = 6.0  #: one more
REMEMBERED: Final = 10_000  #: addresses; the one that was quiet the longest is forgotten


class FailedAttempts:
    """Counts wrong tokens by address."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fresh_at_s: OrderedDict[str, float] = OrderedDict()  #: when the bucket is full again

    def wait_s(self, address: str) -> float:
        """Return how long the address is put off; 0 when it may try."""
        spare_s = self._fresh_at_s.get(address, 0) - self._clock.monotonic()
        return max(0.0, spare_s - (ALLOWED - 1) * REFILLED_EVERY_S)

    def note(self, address: str) -> None:
        """Count a wrong token."""
        now_s = self._clock.monotonic()
        self._fresh_at_s[address] = (
            max(now_s, self._fresh_at_s.get(address, now_s)) + REFILLED_EVERY_S
        )
        self._fresh_at_s.move_to_end(address)
        if len(self._fresh_at_s) > REMEMBERED:
            self._fresh_at_s.popitem(last=False)
