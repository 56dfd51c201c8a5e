"""One piece of heavy work in a round of the event loop, however many tasks have one ready.

A round runs everything that is ready before it looks at sockets again. Where ten mailboxes each
compute for some milliseconds, an answer that needs five rounds waits for fifty of those pieces.
"""

import asyncio
from collections.abc import Iterable
from typing import Final, TypeVar

PIECE: Final = 500  #: things that are made between two rounds: it takes some milliseconds

T = TypeVar("T")


class Rounds:
    """Gives its callers a round each, in the order in which they came."""

    def __init__(self) -> None:
        self._door = asyncio.Lock()

    async def next(self) -> None:
        """Return in a round in which nobody else's call returns."""
        async with self._door:
            await asyncio.sleep(0)


async def in_pieces(things: Iterable[T]) -> list[T]:
    """Return all things of an iterator that makes them, others having their turn in between."""
    made: list[T] = []
    for thing in things:
        made.append(thing)
        if not len(made) % PIECE:
            await asyncio.sleep(0)
    return made
