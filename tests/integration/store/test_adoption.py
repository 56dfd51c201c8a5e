"""A message that moves, or whose folder's UIDs change, keeps its row and its id."""

from datetime import timedelta

from emailsync.domain.folders import FolderCursor
from emailsync.domain.mail import Flags
from emailsync.domain.pages import Adoption, FolderCheck, PageResult, Placement
from store_rig import StoreRig, add_account


async def test_a_message_moved_between_folders_keeps_its_id(rig: StoreRig) -> None:
    archive = await rig.folder("Archive")
    await rig.apply([rig.message(1, "hello")])
    ids = await rig.ids()

    removed = await rig.apply(removed_from={rig.inbox: [1]})
    arrived = await rig.apply(
        [rig.message(9, "hello", folder=archive, adopts=True, flags=Flags(is_read=True))]
    )
    settled = await rig.apply(settle=True)

    assert (removed, arrived, settled) == (PageResult(), PageResult(updated=1), PageResult())
    assert await rig.ids() == {rig.name(9, archive): ids[rig.name(1)]}
    assert (await rig.uids(), await rig.uids(archive)) == ([], [9])
    assert await rig.rows("SELECT is_read FROM messages") == [{"is_read": True}]
    assert [kind for _, kind in await rig.feed()] == ["created", "updated"]


async def test_a_copy_is_a_message_of_its_own(rig: StoreRig) -> None:
    archive = await rig.folder("Archive")
    await rig.apply([rig.message(1, "hello")])

    result = await rig.apply([rig.message(9, "hello", folder=archive, adopts=True)])

    assert result == PageResult(created=1)
    assert len(set((await rig.ids()).values())) == 2


async def test_equal_messages_are_taken_over_one_to_one(rig: StoreRig) -> None:
    """Two of the same newsletter move and a third arrives: three rows, two of them old."""
    archive = await rig.folder("Archive")
    await rig.apply([rig.message(1, "news"), rig.message(2, "news")])
    old = set((await rig.ids()).values())
    await rig.apply(removed_from={rig.inbox: [1, 2]})

    result = await rig.apply(
        [rig.message(uid, "news", folder=archive, adopts=True) for uid in (5, 6, 7)], settle=True
    )

    ids = set((await rig.ids()).values())
    assert result == PageResult(created=1, updated=2)
    assert len(ids) == 3
    assert old < ids


async def test_a_deleted_message_that_comes_back_is_created_for_who_saw_it_go(
    rig: StoreRig,
) -> None:
    await rig.apply([rig.message(1, "hello")])
    (before,) = (await rig.ids()).values()
    await rig.apply(removed_from={rig.inbox: [1]}, settle=True)

    result = await rig.apply([rig.message(2, "hello", adopts=True)])

    assert result == PageResult(created=1)
    assert list((await rig.ids()).values()) == [before]
    assert [kind for _, kind in await rig.feed()] == ["created", "deleted", "created"]


async def test_a_message_deleted_long_ago_stays_deleted(rig: StoreRig) -> None:
    await rig.apply([rig.message(1, "hello")])
    await rig.apply(removed_from={rig.inbox: [1]}, settle=True)
    await rig.connection.execute(
        "UPDATE messages SET deleted_at = now() - $1::interval", timedelta(days=8)
    )

    await rig.apply([rig.message(2, "hello", adopts=True)])

    assert await rig.rows("SELECT deleted_at IS NULL AS live FROM messages ORDER BY id") == [
        {"live": False},
        {"live": True},
    ]


async def test_a_replayed_message_takes_over_nothing(rig: StoreRig) -> None:
    """The row of this very name is there already; the vanished twin is somebody else."""
    await rig.apply([rig.message(1, "news"), rig.message(2, "news")])
    await rig.apply(removed_from={rig.inbox: [1]})
    before = await rig.row_versions()

    result = await rig.apply([rig.message(2, "news", adopts=True)])

    assert result == PageResult()
    assert await rig.row_versions() == before


async def test_nothing_is_taken_over_from_another_account(rig: StoreRig) -> None:
    await rig.apply([rig.message(1, "hello")])
    await rig.apply(removed_from={rig.inbox: [1]})
    other = await add_account(rig.connection)
    await rig.connection.execute("UPDATE messages SET provider_id = $1", other.account_id)

    result = await rig.apply([rig.message(2, "hello", adopts=True)])

    assert result == PageResult(created=1)


async def test_a_new_uidvalidity_costs_the_rows_nothing(rig: StoreRig) -> None:
    """The folder is numbered anew; of three messages one has gone meanwhile."""
    await rig.apply([rig.message(uid) for uid in (1, 2, 3)])
    old = await rig.ids()
    cursor = FolderCursor(uid_validity=8, uid_next=100)

    started = await rig.apply(new_generation=rig.inbox, cursors={rig.inbox: cursor})
    waiting = await rig.stored.fingerprints(rig.inbox, uids=None)
    adoptions = [
        Adoption(
            message_id=old[rig.name(uid)],
            remote_id=f"{rig.inbox}:8:{uid + 50}",
            placements=(Placement(rig.inbox, uid + 50),),
            flags=Flags(),
        )
        for uid in (1, 2)
    ]
    adopted = await rig.apply(
        adoptions=adoptions,
        retire_generation=rig.inbox,
        settle=True,
        check=FolderCheck(folder_id=rig.inbox, remote_count=2),
    )
    again = await rig.apply(adoptions=adoptions)

    assert started == PageResult()
    assert {item.message_id for item in waiting} == set(old.values())
    assert adopted == PageResult(updated=2, deleted=1, stored_count=2)
    assert again == PageResult()
    assert await rig.uids() == [51, 52]
    assert await rig.ids() == {item.remote_id: item.message_id for item in adoptions}


async def test_a_uidvalidity_that_comes_back_meets_no_old_name(rig: StoreRig) -> None:
    await rig.apply([rig.message(1, "old")])
    await rig.apply(new_generation=rig.inbox)

    result = await rig.apply([rig.message(1, "new")], retire_generation=rig.inbox, settle=True)

    assert result == PageResult(created=1, deleted=1)
    assert await rig.rows("SELECT subject FROM messages WHERE deleted_at IS NULL") == [
        {"subject": "new"}
    ]


async def test_a_name_that_is_taken_is_not_adopted(rig: StoreRig) -> None:
    """The message was fetched before it was recognised; its old row is retired."""
    await rig.apply([rig.message(1, "hello")])
    (old,) = (await rig.ids()).values()
    await rig.apply(new_generation=rig.inbox)
    await rig.apply([rig.message(1, "hello")])
    adoption = Adoption(
        message_id=old,
        remote_id=rig.name(1),
        placements=(Placement(rig.inbox, 1),),
        flags=Flags(),
    )

    result = await rig.apply(adoptions=[adoption], retire_generation=rig.inbox, settle=True)

    assert result == PageResult(deleted=1)
    assert await rig.uids() == [1]


async def test_a_new_generation_forgets_what_was_quarantined(rig: StoreRig) -> None:
    refused = rig.message(1, size_bytes=-1)
    await rig.apply([refused])

    await rig.apply(new_generation=rig.inbox)

    assert await rig.stored.quarantined_uids(rig.inbox) == []
