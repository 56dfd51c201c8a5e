"""A page inserted before its turn, while the page before it is not committed."""

from dataclasses import dataclass, field

import anyio

from emailsync.domain.pages import PageChanges, PageResult, ReadyPage
from emailsync.store.database import Connection
from emailsync.store.page_writer import PageWriter
from named_mail import named, places
from store_rig import StoreRig

WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@dataclass
class Second:
    """The turn of the second page: it comes when the first is committed."""

    first: anyio.Event = field(default_factory=anyio.Event)

    @property
    def has_come(self) -> bool:
        return self.first.is_set()

    async def wait(self) -> None:
        await self.first.wait()


async def test_a_message_that_the_page_before_detached_keeps_its_id_and_its_row(
    rig: StoreRig,
) -> None:
    """It moved: one writer takes it out of a folder while the other inserts it into the next."""
    label = await rig.folder("label")
    await rig.apply([named(rig, "a", rig.inbox)])
    before, turn = await rig.ids(), Second()
    is_detached, may_commit = anyio.Event(), anyio.Event()
    results: list[PageResult] = []

    async def detach(connection: Connection) -> None:
        writer = PageWriter(connection, rig.lease.key, keep_raw=True, careful=False)
        left = PageChanges(left={rig.inbox: ["a"]})
        await writer.write(ReadyPage(changes=left))
        is_detached.set()
        await may_commit.wait()

    async def first() -> None:
        await rig.database.transact(detach)
        turn.first.set()

    async def second() -> None:
        await is_detached.wait()
        page = ReadyPage(messages=[named(rig, "a", label), named(rig, "b", label)])
        results.append(await rig.store.apply(rig.lease, page, turn))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(first)
            group.start_soon(second)
            while not await rig.connection.fetchval(WAITS):
                await anyio.sleep(0.01)
            may_commit.set()

    assert (await rig.ids())["a"] == before["a"]
    assert await places(rig) == {"a": {label}, "b": {label}}
    assert results == [PageResult(created=1, updated=1)]
    assert [kind for _, kind in await rig.feed()] == ["created", "created", "updated"]
