"""A listing changes exactly what it names, and what a session reads is what was stored."""

from datetime import UTC, datetime

import pytest

from emailsync.domain.accounts import Lease
from emailsync.domain.errors import LeaseLost
from emailsync.domain.folders import (
    FolderChanges,
    FolderCursor,
    FolderId,
    FolderRename,
    FolderRole,
    RemoteFolder,
)
from emailsync.domain.mail import Flags
from emailsync.domain.pages import PageResult, Placement
from emailsync.ports import Fingerprint, StoredPlacement
from store_rig import StoreRig, add_account

LISTING = (
    RemoteFolder(remote_id="INBOX", path="INBOX", role=FolderRole.INBOX),
    RemoteFolder(remote_id="a" * 5_000, path="long"),
    RemoteFolder(remote_id="INBOX/\udcff\0", path="odd \ud800"),
)


async def test_a_listing_adds_and_updates_folders(rig: StoreRig) -> None:
    folders = await rig.stored.save_folders(FolderChanges(seen=LISTING))

    assert [(folder.path, folder.role) for folder in folders] == [
        ("INBOX", FolderRole.INBOX),
        ("long", None),
        ("odd \ufffd", None),
    ]
    assert folders[0].id == rig.inbox
    assert folders[0].cursor == FolderCursor()
    assert await rig.stored.folders() == folders


async def test_the_same_listing_again_writes_no_row(rig: StoreRig) -> None:
    await rig.stored.save_folders(FolderChanges(seen=LISTING))
    before = await rig.row_versions()

    await rig.stored.save_folders(FolderChanges(seen=LISTING))

    assert await rig.row_versions() == before


async def test_absences_are_counted_until_the_folder_is_seen_again(rig: StoreRig) -> None:
    for _ in range(2):
        await rig.stored.save_folders(FolderChanges(missing=(rig.inbox,)))
    (missing,) = await rig.stored.folders()

    (seen,) = await rig.stored.save_folders(FolderChanges(seen=LISTING[:1]))

    assert (missing.missing_count, seen.missing_count) == (2, 0)


async def test_folders_can_exchange_their_names(rig: StoreRig) -> None:
    a, b = await rig.folder("a"), await rig.folder("b")
    await rig.apply([rig.message(1, folder=a)])

    folders = await rig.stored.save_folders(
        FolderChanges(
            renamed=(
                FolderRename(folder_id=a, remote=RemoteFolder(remote_id="b", path="b")),
                FolderRename(folder_id=b, remote=RemoteFolder(remote_id="a", path="a")),
            ),
            seen=(RemoteFolder(remote_id="a", path="a"), RemoteFolder(remote_id="b", path="b")),
        )
    )

    assert {folder.path: folder.id for folder in folders} == {"INBOX": rig.inbox, "a": b, "b": a}
    assert await rig.uids(a) == [1]


async def test_a_folder_that_is_gone_takes_its_placements_along(rig: StoreRig) -> None:
    other = await rig.folder("other")
    both = rig.message(2, placements=(Placement(rig.inbox, 2), Placement(other, 2)))
    await rig.apply([rig.message(1), both])
    ids = await rig.ids()

    folders = await rig.stored.save_folders(FolderChanges(gone=(rig.inbox,)))
    settled = await rig.apply(settle=True)

    assert [folder.id for folder in folders] == [other]
    assert settled == PageResult(deleted=1)
    assert (await rig.feed())[2:] == [(ids[rig.name(2)], "updated"), (ids[rig.name(1)], "deleted")]


async def test_a_folder_that_was_made_again_under_its_name_is_another_one(rig: StoreRig) -> None:
    (again,) = await rig.stored.save_folders(FolderChanges(gone=(rig.inbox,), seen=LISTING[:1]))

    assert again.id != rig.inbox


async def test_folders_of_other_accounts_are_neither_seen_nor_touched(rig: StoreRig) -> None:
    neighbour = await add_account(rig.connection, lease_epoch=1)
    theirs = rig.store.stored_mail(Lease(neighbour, 1))

    await theirs.save_folders(FolderChanges(gone=(rig.inbox,), missing=(rig.inbox,)))

    assert await theirs.folders() == []
    (folder,) = await rig.stored.folders()
    assert folder.missing_count == 0


async def test_a_listing_of_a_lost_lease_writes_nothing(rig: StoreRig) -> None:
    stale = rig.store.stored_mail(Lease(rig.lease.key, 0))

    with pytest.raises(LeaseLost):
        await stale.save_folders(FolderChanges(seen=LISTING))

    assert len(await rig.stored.folders()) == 1


async def test_placements_come_by_uid_in_portions(rig: StoreRig) -> None:
    flags = Flags(is_starred=True, keywords=("a", "b"))
    await rig.apply([rig.message(uid, flags=flags) for uid in (5, 1, 2**32 - 1)])
    ids = await rig.ids()

    first = await rig.stored.placements(rig.inbox, from_uid=1, limit=2)
    rest = await rig.stored.placements(rig.inbox, from_uid=6, limit=2)

    assert first == [StoredPlacement(ids[rig.name(uid)], uid, flags) for uid in (1, 5)]
    assert [placement.uid for placement in rest] == [2**32 - 1]


async def test_fingerprints_tell_what_recognises_a_message(rig: StoreRig) -> None:
    await rig.apply([rig.message(1, "hello", message_id="a@b"), rig.message(2)])
    ids = await rig.ids()

    (known,) = await rig.stored.fingerprints(rig.inbox, uids={1, 99})
    without_uid = await rig.stored.fingerprints(rig.inbox, uids=None)
    elsewhere = await rig.stored.fingerprints(FolderId(10**9), uids=[1])

    received_at = datetime(2026, 1, 1, tzinfo=UTC)
    assert known == Fingerprint(ids[rig.name(1)], 1, "a@b", 5, received_at)
    assert (without_uid, elsewhere) == ([], [])
