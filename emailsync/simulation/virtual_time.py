"""An event loop whose time jumps to the next timer when nothing else is left to do.

What runs on it is the real thing; only waiting costs nothing. No sockets, no threads.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

T = TypeVar("T")
START: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)  #: when the loop's time is 0


class _JumpingSelector(selectors.DefaultSelector):
    """Never sleeps: what the loop would have slept is added to its time."""

    slept_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("deadlock: nothing is scheduled and everybody waits")
        self.slept_s += timeout
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop; whoever waits for something from outside waits for ever."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._jumping.slept_s


class LoopClock:
    """An `emailsync.ports.Clock` that reads the running loop's time."""

    def now(self) -> datetime:
        """Return the wall clock, aware UTC."""
        return START + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return the loop's seconds."""
        return asyncio.get_running_loop().time()


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
