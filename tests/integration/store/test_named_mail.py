"""Mail whose names last for life and whose folders have no UIDs, as Gmail and Graph have it."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emailsync.domain.accounts import Lease
from emailsync.domain.folders import AccountCursor, FolderId
from emailsync.domain.mail import Flags
from emailsync.domain.pages import (
    FlagChange,
    FolderCheck,
    PageResult,
    Placement,
    PlacementChange,
    ReadyMessage,
    ReadyPage,
    Unfetchable,
)
from emailsync.store.page_writer import PageWriter
from store_rig import StoreRig, add_account, store_rig


def named(rig: StoreRig, name: str, *folders: FolderId, **fields: Any) -> ReadyMessage:
    """Return a message that lies in these folders."""
    return rig.message(1, name, remote_id=name, placements=tuple(map(Placement, folders)), **fields)


def moved(name: str, *folders: FolderId) -> PlacementChange:
    return PlacementChange(name, tuple(map(Placement, folders)))


def lost(name: str, *folders: FolderId) -> list[Unfetchable]:
    return [
        Unfetchable(remote_id=name, placement=Placement(folder), reason="500") for folder in folders
    ]


async def places(rig: StoreRig) -> dict[str, set[FolderId]]:
    """Return the folders of every message that is not deleted."""
    found = await rig.stored.inventory(None, after="", limit=1_000)
    return {message.remote_id: set(message.folders) for message in found}


async def kinds(rig: StoreRig) -> list[str]:
    return [kind for _, kind in await rig.feed()]


async def test_a_message_that_left_one_of_its_folders_stays_in_the_others(rig: StoreRig) -> None:
    label = await rig.folder("label")
    await rig.apply([named(rig, "a", rig.inbox, label), named(rig, "b", label)])

    result = await rig.apply(left={label: ["a", "unknown"], rig.inbox: ["b"]}, settle=True)

    assert result == PageResult(updated=1)
    assert await places(rig) == {"a": {rig.inbox}, "b": {label}}


async def test_a_message_that_left_its_only_folder_is_detached_and_nobody_is_told(
    rig: StoreRig,
) -> None:
    await rig.apply([named(rig, "a", rig.inbox)])

    result = await rig.apply(left={rig.inbox: ["a"]})

    assert result == PageResult()
    assert await rig.stored.detached(after="", limit=10) == ["a"]
    assert await kinds(rig) == ["created"]


async def test_a_message_that_leaves_one_folder_for_another_keeps_its_id(rig: StoreRig) -> None:
    label = await rig.folder("label")
    await rig.apply([named(rig, "a", rig.inbox)])
    before = await rig.ids()
    page = {"left": {rig.inbox: ["a"]}, "placements": [moved("a", label)], "settle": True}

    first = await rig.apply(**page)
    rows = await rig.row_versions()
    again = await rig.apply(**page)

    assert (first, again) == (PageResult(updated=1), PageResult())
    assert await rig.row_versions() == rows
    assert await rig.ids() == before
    assert await places(rig) == {"a": {label}}
    assert await kinds(rig) == ["created", "updated"]


async def test_a_message_that_an_earlier_sync_detached_is_placed_again_and_takes_its_flags(
    rig: StoreRig,
) -> None:
    """The folder it went to was not looked at before that sync was cut short."""
    label = await rig.folder("label")
    await rig.apply([named(rig, "a", rig.inbox)])
    before = await rig.ids()
    await rig.apply(left={rig.inbox: ["a"]})

    result = await rig.apply(
        placements=[moved("a", label)], flags=[FlagChange("a", Flags(is_read=True))], settle=True
    )

    assert result == PageResult(updated=1)
    assert await rig.ids() == before
    assert await places(rig) == {"a": {label}}
    assert await rig.rows("SELECT is_read, detached_at FROM messages") == [
        {"is_read": True, "detached_at": None}
    ]


async def test_a_detached_message_that_is_moved_nowhere_stays_detached(rig: StoreRig) -> None:
    await rig.apply([named(rig, "a", rig.inbox)])
    await rig.apply(removed=["a"])
    before = await rig.row_versions()

    result = await rig.apply(placements=[moved("a")])

    assert result == PageResult()
    assert await rig.row_versions() == before


async def test_only_what_is_settled_by_name_is_deleted(rig: StoreRig) -> None:
    """Whether the others are gone, or lie where nobody has looked yet, is not known."""
    await rig.apply([named(rig, name, rig.inbox) for name in "abc"])
    await rig.apply(removed=["a", "b"])

    result = await rig.apply(settled=["a", "c", "unknown"])

    assert result == PageResult(deleted=1)
    assert await places(rig) == {"b": set(), "c": {rig.inbox}}


async def test_a_deleted_message_is_not_brought_back_by_a_move(rig: StoreRig) -> None:
    """Nobody knows whether its content is still the same."""
    await rig.apply([named(rig, "a", rig.inbox)])
    await rig.apply(removed=["a"], settle=True)

    result = await rig.apply(placements=[moved("a", rig.inbox)])

    assert result == PageResult()
    assert await places(rig) == {}


@pytest.mark.parametrize("others", [{}, {"settle": True}], ids=["new mail", "with a change"])
async def test_a_deleted_message_that_is_fetched_again_takes_its_row_back(
    rig: StoreRig, others: Mapping[str, bool]
) -> None:
    """Whoever follows the feed saw it go, however long ago, and is told that it is there again."""
    await rig.apply([named(rig, "a", rig.inbox)])
    before = await rig.ids()
    await rig.apply(removed=["a"], settle=True)
    await rig.connection.execute(
        "UPDATE messages SET deleted_at = now() - $1::interval", timedelta(days=29)
    )
    arriving = [named(rig, "a", rig.inbox, subject="other"), named(rig, "b", rig.inbox)]

    result = await rig.apply(arriving, **others)
    rows = await rig.row_versions()
    again = await rig.apply(arriving, **others)

    assert (result, again) == (PageResult(created=2), PageResult())
    assert await rig.row_versions() == rows
    assert (await rig.ids())["a"] == before["a"]
    assert await rig.rows("SELECT subject FROM messages WHERE remote_id = 'a'") == [
        {"subject": "other"}
    ]
    assert Counter(await rig.feed()) == Counter(
        [(number, "created") for number in (await rig.ids()).values()]
        + [(before["a"], "deleted"), (before["a"], "created")]
    )


async def test_a_detached_message_that_is_fetched_again_was_only_changed(rig: StoreRig) -> None:
    label = await rig.folder("label")
    await rig.apply([named(rig, "a", rig.inbox)])
    before = await rig.ids()

    result = await rig.apply([named(rig, "a", label)], left={rig.inbox: ["a"]})

    assert result == PageResult(updated=1)
    assert await rig.ids() == before
    assert await places(rig) == {"a": {label}}


async def test_a_name_of_another_account_is_another_message(rig: StoreRig) -> None:
    await rig.apply([named(rig, "a", rig.inbox)])
    await rig.apply(removed=["a"], settle=True)
    other = await add_account(rig.connection)
    await rig.connection.execute("UPDATE messages SET provider_id = $1", other.account_id)

    await rig.apply([named(rig, "a", rig.inbox)])

    assert len(await rig.rows("SELECT FROM messages")) == 2


async def test_labelled_mail_is_stored_in_one_statement_with_all_its_placements(
    rig: StoreRig,
) -> None:
    """A page of a listing moves the account's bookmark, and is no slower for it."""
    label = await rig.folder("label")
    messages = [named(rig, "a", rig.inbox, label), named(rig, "b", label), named(rig, "c")]

    async with rig.database.connection() as connection:
        writer = PageWriter(connection, rig.lease.key, keep_raw=True, careful=False)
        is_whole = await writer.insert_new(ReadyPage(messages=messages))
    result = await rig.apply(
        [named(rig, "d", label)], account_cursor=AccountCursor(resume_token="page 2")
    )

    assert is_whole
    assert result == PageResult(created=1)
    assert await places(rig) == {"a": {rig.inbox, label}, "b": {label}, "c": set(), "d": {label}}
    assert await rig.rows("SELECT resume_token FROM provider_configs") == [
        {"resume_token": "page 2"}
    ]


async def test_a_check_counts_placements_without_uids_in_each_folder(rig: StoreRig) -> None:
    label = await rig.folder("label")
    await rig.apply([named(rig, "a", rig.inbox, label), named(rig, "b", label)])

    counts = [
        (await rig.apply(check=FolderCheck(folder_id=folder, remote_count=2))).stored_count
        for folder in (rig.inbox, label)
    ]

    assert counts == [1, 2]


async def test_a_message_that_cannot_be_had_counts_in_all_its_folders_and_once_in_all(
    rig: StoreRig,
) -> None:
    """Were it missing in one, that folder would be compared in full at every sync."""
    label, other = await rig.folder("label"), await rig.folder("other")
    await rig.apply(unfetchable=lost("a", rig.inbox, label))

    result = await rig.apply(unfetchable=lost("a", label, other))

    counts = [
        (await rig.apply(check=FolderCheck(folder_id=folder, remote_count=1))).stored_count
        for folder in (rig.inbox, label, other)
    ]
    assert result == PageResult(quarantined=1)
    assert counts == [0, 1, 1]
    assert await rig.stored.quarantined_ids() == ["a"]


async def test_a_quarantined_message_is_forgotten_where_it_left_and_altogether_when_removed(
    rig: StoreRig,
) -> None:
    label = await rig.folder("label")
    await rig.apply(unfetchable=lost("a", rig.inbox, label))
    inbox = FolderCheck(folder_id=rig.inbox, remote_count=0)

    left = await rig.apply(left={rig.inbox: ["a"]}, check=inbox)
    before = await rig.stored.quarantined_ids()
    await rig.apply(removed=["a"])

    assert (left.stored_count, before) == (0, ["a"])
    assert await rig.stored.quarantined_ids() == []


async def test_a_refused_message_is_kept_aside_for_all_its_folders_with_its_bytes_once(
    rig: StoreRig,
) -> None:
    label = await rig.folder("label")

    result = await rig.apply([named(rig, "a", rig.inbox, label, size_bytes=-1)])

    assert result == PageResult(quarantined=1)
    assert await rig.rows("SELECT folder_id, raw FROM quarantine ORDER BY folder_id") == [
        {"folder_id": rig.inbox, "raw": b"a"},
        {"folder_id": label, "raw": None},
    ]


NAMES, FOLDERS = "abcd", range(3)
SOME_NAMES = st.lists(st.sampled_from(NAMES), max_size=2)
PLACES = st.dictionaries(
    st.sampled_from(NAMES), st.frozensets(st.sampled_from(FOLDERS)), max_size=2
)
PAGES = st.fixed_dictionaries(
    {
        "removed": SOME_NAMES,
        "left": st.dictionaries(st.sampled_from(FOLDERS), SOME_NAMES, max_size=2),
        "messages": st.dictionaries(
            st.sampled_from(NAMES),
            st.frozensets(st.sampled_from(FOLDERS), min_size=1),
            max_size=2,
        ),
        "placements": PLACES,
        "settle": st.booleans(),
    }
).map(
    lambda page: (
        page
        | {
            "placements": {
                name: folders
                for name, folders in page["placements"].items()
                if name not in page["messages"]  # which say where they lie already
            }
        }
    )
)


def expected(known: Mapping[str, frozenset[int]], page: Mapping[str, Any]) -> dict[str, Any]:
    """Return the folders of what is not deleted, after a page; none: detached."""
    after = dict(known)
    after |= {name: frozenset() for name in page["removed"] if name in after}
    for folder, names in page["left"].items():
        after |= {name: after[name] - {folder} for name in names if name in after}
    after |= page["messages"]
    after |= {name: folders for name, folders in page["placements"].items() if name in after}
    if page["settle"]:
        after = {name: folders for name, folders in after.items() if folders}
    return after


def names_of(page: Mapping[str, Any]) -> Sequence[str]:
    left = [name for names in page["left"].values() for name in names]
    return [*page["removed"], *left, *page["messages"], *page["placements"]]


class Mailbox:
    """Applies pages to one account after another, from synchronous code."""

    def __init__(self, url: str, runner: asyncio.Runner, stack: AsyncExitStack) -> None:
        self._run = runner.run
        self._rig = self._run(stack.enter_async_context(store_rig(url)))

    def start_anew(self) -> None:
        self._run(self._start_anew())

    async def _start_anew(self) -> None:
        key = await add_account(self._rig.connection, lease_epoch=1)
        self._rig.lease = Lease(key, 1)
        self._folders = [await self._rig.folder(str(number)) for number in FOLDERS]

    def apply(self, page: Mapping[str, Any]) -> None:
        def at(numbers: Sequence[int]) -> list[FolderId]:
            return [self._folders[number] for number in sorted(numbers)]

        self._run(
            self._rig.apply(
                [named(self._rig, name, *at(where)) for name, where in page["messages"].items()],
                removed=page["removed"],
                left={self._folders[number]: names for number, names in page["left"].items()},
                placements=[moved(name, *at(where)) for name, where in page["placements"].items()],
                settle=page["settle"],
            )
        )

    def places(self) -> dict[str, frozenset[int]]:
        return {
            name: frozenset(map(self._folders.index, folders))
            for name, folders in self._run(places(self._rig)).items()
        }

    def row_versions(self) -> Mapping[str, Any]:
        return self._run(self._rig.row_versions())

    def told(self) -> dict[str, str]:
        """Return what the feed said last of each message; its contradictions are failures."""
        rows = self._run(
            self._rig.rows(
                "SELECT remote_id, kind"
                " FROM changes JOIN messages ON messages.id = changes.message_id"
                " WHERE changes.provider_id = $1 ORDER BY seq",
                self._rig.lease.key.account_id,
            )
        )
        last: dict[str, str] = {}
        for row in rows:
            name, kind = row["remote_id"], row["kind"]
            assert (kind == "created") == (last.get(name, "deleted") == "deleted")
            last[name] = kind
        return last

    def rows_of_a_name(self) -> set[int]:
        rows = self._run(
            self._rig.rows(
                "SELECT count(*) FROM messages WHERE provider_id = $1 GROUP BY remote_id",
                self._rig.lease.key.account_id,
            )
        )
        return {row["count"] for row in rows}


@pytest.fixture
def mailbox(database_url: str) -> Iterator[Mailbox]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        yield Mailbox(database_url, runner, stack)
        runner.run(stack.aclose())


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pages=st.lists(PAGES, min_size=1, max_size=6))
def test_any_pages_leave_each_message_where_the_last_word_was_under_one_id_for_life(
    mailbox: Mailbox, pages: list[dict[str, Any]]
) -> None:
    mailbox.start_anew()
    known: dict[str, frozenset[int]] = {}

    for page in pages:
        mailbox.apply(page)
        known = expected(known, page)
        assert mailbox.places() == known
        if len(set(names_of(page))) == len(names_of(page)):
            before = mailbox.row_versions()
            mailbox.apply(page)
            assert mailbox.row_versions() == before

    exists = {name for name, kind in mailbox.told().items() if kind != "deleted"}
    assert exists == set(known)
    assert mailbox.rows_of_a_name() <= {1}
