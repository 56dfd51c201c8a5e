"""Lets an asynchronous generator work ahead while its consumer is busy with the last item.

A generator cannot own a task: its consumer may stop between two items. So the task belongs to a
group that outlives both, which the opener of a session closes.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

import anyio
import anyio.abc

T = TypeVar("T")


async def ahead(
    group: anyio.abc.TaskGroup, source: AsyncGenerator[T], *, ready: int, name: str
) -> AsyncGenerator[T]:
    """Yield what `source` yields, of which up to `ready` items wait and one more is under way.

    Raises what `source` raises, after everything that came before. Closing it, or leaving it by
    cancellation, cancels the source.
    """
    failure: list[Exception] = []
    work = anyio.CancelScope()
    send, receive = anyio.create_memory_object_stream[T](ready)

    async def produce() -> None:
        with work:
            async with send, aclosing(source):
                try:
                    async for item in source:
                        await send.send(item)
                except Exception as error:  # noqa: BLE001 - raised where the items are consumed
                    failure.append(error)

    group.start_soon(produce, name=name)
    try:
        async with receive:
            async for item in receive:
                yield item
    finally:
        work.cancel()
    if failure:
        raise failure[0]
