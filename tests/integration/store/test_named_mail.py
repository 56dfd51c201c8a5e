"""Mail whose names last for life and whose folders have no UIDs, as Gmail and Graph have it."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

import pytest

from emailsync.domain.folders import AccountCursor, FolderId
from emailsync.domain.mail import Flags
from emailsync.domain.pages import (
    FlagChange,
    FolderCheck,
    PageResult,
    Placement,
    ReadyPage,
    Unfetchable,
)
from emailsync.store.page_writer import PageWriter
from named_mail import moved, named, places
from store_rig import StoreRig, add_account


def lost(name: str, *folders: FolderId) -> list[Unfetchable]:
    return [
        Unfetchable(remote_id=name, placement=Placement(folder), reason="500") for folder in folders
    ]


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
