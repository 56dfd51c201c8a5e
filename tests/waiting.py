"""Waiting for what happens in this process and tells nobody."""

from collections.abc import Callable

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
