"""Waiting for what tells nobody: in this process, or in another one that can be asked."""

from collections.abc import Awaitable, Callable

import anyio

LOOK_EVERY_S = 0.005


async def until(condition: Callable[[], object], *, within_s: float = 10.0) -> None:
    """Return as soon as the condition holds.

    Raises:
        TimeoutError: it did not in time.
    """
    with anyio.fail_after(within_s):
        while not condition():
            await anyio.sleep(LOOK_EVERY_S)


async def until_told(ask: Callable[[], Awaitable[object]], *, within_s: float = 10.0) -> None:
    """Return as soon as the answer is yes; each question takes the time that it takes.

    Raises:
        TimeoutError: it was not in time.
    """
    with anyio.fail_after(within_s):
        while not await ask():
            pass
