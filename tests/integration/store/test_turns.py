"""Pages that are applied side by side: what each may do before its turn, and what it may not."""

from dataclasses import dataclass, field

import anyio
import asyncpg

from emailsync.domain.errors import LeaseLost
from emailsync.domain.folders import FolderCursor
from emailsync.domain.pages import PageChanges, PageResult, ReadyPage
from store_rig import StoreRig

PATIENCE_S = 10


@dataclass
class SettableTurn:
    """A turn that comes when the test says so."""

    come: anyio.Event = field(default_factory=anyio.Event)
    asked: anyio.Event = field(default_factory=anyio.Event)

    @property
    def has_come(self) -> bool:
        return self.come.is_set()

    async def wait(self) -> None:
        self.asked.set()
        await self.come.wait()


def new_mail(rig: StoreRig, *uids: int) -> ReadyPage:
    cursor = FolderCursor(uid_validity=7, uid_next=max(uids) + 1)
    return ReadyPage(
        messages=[rig.message(uid) for uid in uids],
        changes=PageChanges(cursors={rig.inbox: cursor}),
    )


async def uid_next(rig: StoreRig) -> int | None:
    (row,) = await rig.rows("SELECT uid_next FROM folders WHERE id = $1", rig.inbox)
    value: int | None = row["uid_next"]
    return value


async def test_a_page_ahead_of_its_turn_is_not_seen_and_moves_no_cursor(rig: StoreRig) -> None:
    turn = SettableTurn()
    async with anyio.create_task_group() as group:
        group.start_soon(rig.store.apply, rig.lease, new_mail(rig, 3, 4), turn)
        with anyio.fail_after(PATIENCE_S):
            await turn.asked.wait()

        ahead = await rig.ids(), await uid_next(rig)
        await rig.store.apply(rig.lease, new_mail(rig, 1, 2))
        in_front = await uid_next(rig)
        turn.come.set()

    assert ahead == ({}, None)
    assert in_front == 3
    assert len(await rig.ids()) == 4
    assert await uid_next(rig) == 5


async def test_the_lease_is_asked_for_when_the_turn_has_come(rig: StoreRig) -> None:
    """An account that was claimed while a page waited gets nothing of it."""
    turn = SettableTurn()
    refused: list[LeaseLost] = []

    async def apply() -> None:
        try:
            await rig.store.apply(rig.lease, new_mail(rig, 1), turn)
        except LeaseLost as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(apply)
        with anyio.fail_after(PATIENCE_S):
            await turn.asked.wait()
        await rig.connection.execute("UPDATE provider_configs SET lease_epoch = lease_epoch + 1")
        turn.come.set()

    assert len(refused) == 1
    assert await rig.ids() == {}
    assert await rig.rows("SELECT FROM changes") == []


async def test_the_same_message_in_two_pages_is_one_row(rig: StoreRig) -> None:
    """The page behind waits for the row of the one in front, and finds it there."""
    turn = SettableTurn()
    results: list[PageResult] = []

    async def apply_behind() -> None:
        results.append(await rig.store.apply(rig.lease, new_mail(rig, 2, 3), turn))

    await rig.store.apply(rig.lease, new_mail(rig, 1, 2))
    async with anyio.create_task_group() as group:
        group.start_soon(apply_behind)
        with anyio.fail_after(PATIENCE_S):
            await turn.asked.wait()
        turn.come.set()

    assert results == [PageResult(created=1)]
    assert len(await rig.ids()) == 3
    kinds = await rig.rows("SELECT kind, count(*) FROM changes GROUP BY kind")
    assert kinds == [{"kind": "created", "count": 3}]


async def test_few_connections_are_held_by_pages_that_wait(rig: StoreRig) -> None:
    """Were it any number, they could have all of them, and those whose turn it is none."""
    turns = [SettableTurn() for _ in range(rig.database.spare + 3)]
    async with anyio.create_task_group() as group:
        for uid, turn in enumerate(turns, 1):
            group.start_soon(rig.store.apply, rig.lease, new_mail(rig, uid), turn)
        with anyio.fail_after(PATIENCE_S):
            for turn in turns:
                await turn.asked.wait()

        waiting = await _idle_in_transaction(rig.connection)
        for turn in turns:
            turn.come.set()

    assert waiting == rig.database.spare > 0
    assert len(await rig.ids()) == len(turns)


async def _idle_in_transaction(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    count: int = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state = 'idle in transaction'"
    )
    return count
