"""However many folders a mailbox has, others have their turn while they are looked through.

Nothing that is asked here waits for anything: every round of the loop that passes was given away.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import anyio
import anyio.lowlevel
import orjson
import pytest

from emailsync.domain.folders import FolderChanges, FolderCursor, FolderId, StoredFolder
from emailsync.loop_rounds import PIECE, in_pieces
from emailsync.ports import StoredMail
from emailsync.providers.account_client import AccountClient
from emailsync.providers.gmail.api import GmailApi
from emailsync.providers.gmail.label_keeper import LabelKeeper
from emailsync.providers.gmail.prices import PRICES
from emailsync.providers.graph.addressing import PUBLIC_API, LinkCutter
from emailsync.providers.graph.client import GraphClient
from emailsync.providers.graph.folder_tree import FolderTree
from emailsync.providers.http_messages import Answer

MANY = 10 * PIECE


async def rounds_of(work: Callable[[], Awaitable[Any]]) -> int:
    """Return how many rounds of the loop others had during some work."""
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            await anyio.lowlevel.checkpoint()
            rounds += 1

    async with anyio.create_task_group() as group:
        group.start_soon(count)
        await work()
        group.cancel_scope.cancel()
    return rounds


class Server:
    """Gives the same answer to every request, at once."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.answer = Answer(
            status=200, headers={}, body=orjson.dumps(answer), received_at=datetime.now(UTC)
        )

    async def send(self, *_: Any, **__: Any) -> Answer:
        return self.answer


class Folders:
    """The folders of an account that are stored, and what is saved of them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.saved: list[FolderChanges] = []
        self._stored = [
            StoredFolder(
                id=FolderId(number),
                remote_id=name,
                path="old",
                role=None,
                cursor=FolderCursor(),
                stored_count=0,
                remote_count=0,
                missing_count=0,
            )
            for number, name in enumerate(names)
        ]

    async def folders(self) -> Sequence[StoredFolder]:
        return self._stored

    async def save_folders(self, changes: FolderChanges) -> Sequence[StoredFolder]:
        self.saved.append(changes)
        return self._stored


async def labels_of(count: int) -> int:
    """Look through so many labels; return the rounds that passed."""
    names = ["INBOX", *(f"Label_{number}" for number in range(count))]
    labels = [{"id": name, "name": name.lower()} for name in names]
    client = cast("AccountClient", Server({"labels": labels}))
    stored = Folders([*names, "ARCHIVE"])
    keeper = LabelKeeper(GmailApi(client, PRICES["2026"]), cast("StoredMail", stored))

    async def update() -> None:
        assert [page async for page in keeper.update()] == []

    rounds = await rounds_of(update)
    assert len(stored.saved[0].seen) == len(names) + 1
    return rounds


async def folders_of(count: int) -> int:
    """Read a tree of so many folders, each in the next and the last in the first."""
    folders = [
        {"id": str(n), "displayName": f"Folder {n}", "parentFolderId": str((n + 1) % count)}
        for n in range(count)
    ]
    link = f"{PUBLIC_API}/v1.0/me/mailFolders/delta?$deltatoken=1"
    server = cast("AccountClient", Server({"value": folders, "@odata.deltaLink": link}))
    stored = Folders([str(n) for n in range(count)])
    client = GraphClient(server, LinkCutter(PUBLIC_API), "/me")
    tree = FolderTree(client, cast("StoredMail", stored))

    async def read() -> None:
        await tree.read_whole(await stored.folders())

    rounds = await rounds_of(read)
    assert len(stored.saved[0].seen) == count
    return rounds


@pytest.mark.parametrize("look_through", [labels_of, folders_of])
async def test_many_folders_are_looked_through_in_pieces(
    look_through: Callable[[int], Awaitable[int]],
) -> None:
    few, many = await look_through(10), await look_through(MANY)

    assert many - few >= 2 * MANY // PIECE - 2, "two times over, and a piece is a round"


async def test_things_are_made_in_order_and_a_round_passes_after_each_piece() -> None:
    made: list[int] = []

    async def make() -> None:
        made.extend(await in_pieces(iter(range(3 * PIECE))))

    assert await rounds_of(make) >= 2
    assert made == list(range(3 * PIECE))
