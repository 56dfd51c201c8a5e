"""Ends a piece of work at one of its awaits, and counts them."""

from collections.abc import Coroutine, Generator
from typing import Any

import anyio

NEVER = 0


class Awaits:
    """An awaitable that does some work and is cancelled at its awaits from a given one on.

    What it waits for at that moment is under way, as it is when a daemon is stopped.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], *, cancel_at: int = NEVER) -> None:
        self.count = 0
        self.was_cancelled = False
        self._work = work
        self._cancel_at = cancel_at

    async def run(self) -> "Awaits":
        """Do the work, or as much as there is time for; return this."""
        with anyio.CancelScope() as self._scope:
            await self
        self.was_cancelled = self._scope.cancelled_caught
        return self

    def __await__(self) -> Generator[Any, Any, None]:
        answer: Any = None
        failure: BaseException | None = None
        while True:
            try:
                step = self._work.send(answer) if failure is None else self._work.throw(failure)
            except StopIteration:
                return
            self.count += 1
            if self.count == self._cancel_at:
                self._scope.cancel()
            answer, failure = None, None
            try:
                answer = yield step
            except BaseException as error:  # noqa: BLE001 - handed on to the work, which decides
                failure = error
