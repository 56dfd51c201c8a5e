"""A generator works ahead of its consumer, and ends with it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import anyio.lowlevel
import pytest

from emailsync.providers.ahead import ahead


class Source:
    """A generator that tells how far it is."""

    def __init__(self, count: int, failure: Exception | None = None) -> None:
        self.begun = 0
        self.is_closed = False
        self._count = count
        self._failure = failure

    async def items(self) -> AsyncGenerator[int]:
        try:
            for number in range(self._count):
                self.begun = number + 1
                await anyio.lowlevel.checkpoint()
                yield number
            if self._failure is not None:
                raise self._failure
        finally:
            self.is_closed = True


async def test_the_next_item_is_made_while_the_last_one_is_used() -> None:
    source = Source(5)

    async with (
        anyio.create_task_group() as group,
        aclosing(ahead(group, source.items(), ready=0, name="work")) as items,
    ):
        async for item in items:
            await anyio.wait_all_tasks_blocked()
            assert source.begun == min(item + 2, 5)

    assert source.is_closed


async def test_some_items_can_wait_ready() -> None:
    source = Source(9)

    async with (
        anyio.create_task_group() as group,
        aclosing(ahead(group, source.items(), ready=2, name="work")) as items,
    ):
        await anext(items)
        await anyio.wait_all_tasks_blocked()
        assert source.begun == 4


async def test_a_failure_comes_after_everything_before_it() -> None:
    source = Source(3, ValueError("x"))

    async with anyio.create_task_group() as group:
        items = ahead(group, source.items(), ready=0, name="work")
        taken = [await anext(items) for _ in range(3)]
        with pytest.raises(ValueError, match="x"):
            await anext(items)

    assert taken == [0, 1, 2]


async def test_whoever_stops_early_stops_the_source() -> None:
    source = Source(100)

    async with (
        anyio.create_task_group() as group,
        aclosing(ahead(group, source.items(), ready=0, name="work")) as items,
    ):
        await anext(items)

    assert source.is_closed
    assert source.begun < 4


async def test_cancelling_the_consumer_stops_the_source() -> None:
    source = Source(100)

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with aclosing(ahead(group, source.items(), ready=0, name="work")) as items:
                async for _ in items:
                    scope.cancel()

    assert source.is_closed
    assert source.begun < 4
