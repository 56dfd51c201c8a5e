"""What a session reads of messages that its provider knows by a name for life."""

from emailsync.domain.folders import FolderId
from emailsync.domain.mail import Flags
from emailsync.domain.pages import Placement, ReadyMessage, Unfetchable
from emailsync.ports import StoredMessage
from store_rig import StoreRig, add_account


def labelled(
    rig: StoreRig, name: str, *labels: FolderId, flags: Flags | None = None
) -> ReadyMessage:
    """Return a message as Gmail has them: it lies under several labels, and there are no UIDs."""
    return rig.message(
        1, name, remote_id=name, placements=tuple(map(Placement, labels)), flags=flags or Flags()
    )


async def names(rig: StoreRig, folder: FolderId | None, *, limit: int) -> list[str]:
    """Return the names of the inventory, read page by page."""
    found: list[str] = []
    while page := await rig.stored.inventory(folder, after=found[-1] if found else "", limit=limit):
        assert len(page) <= limit
        found += [message.remote_id for message in page]
    return found


async def test_a_stored_message_is_looked_up_with_its_flags_and_folders(rig: StoreRig) -> None:
    label = await rig.folder("label")
    flags = Flags(is_read=True, is_starred=True, keywords=("$Forwarded",))
    await rig.apply([labelled(rig, "a", rig.inbox, label, flags=flags), labelled(rig, "b", label)])
    ids = await rig.ids()

    found = await rig.stored.lookup(["a", "unknown"])

    assert found == {"a": StoredMessage(ids["a"], "a", flags, frozenset({rig.inbox, label}))}


async def test_a_detached_message_is_looked_up_without_folders_and_a_deleted_one_never(
    rig: StoreRig,
) -> None:
    await rig.apply([labelled(rig, name, rig.inbox) for name in ("deleted", "detached", "live")])
    await rig.apply(removed=["deleted"], settle=True)
    await rig.apply(removed=["detached"])

    found = await rig.stored.lookup(["deleted", "detached", "live"])

    assert {name: message.folders for name, message in found.items()} == {
        "detached": frozenset(),
        "live": frozenset({rig.inbox}),
    }


async def test_the_inventory_comes_in_the_order_of_bytes_whatever_the_size_of_its_pages(
    rig: StoreRig,
) -> None:
    """A database that sorts as people do would put `a` before `B`, and skip what lies between."""
    known = ["B", "Z", "_", "a", "a-", "aA", "aa", "b", "é"]
    await rig.apply([labelled(rig, name, rig.inbox) for name in known])
    await rig.apply(removed=["a-", "é"])

    pages = [await names(rig, None, limit=limit) for limit in (1, 2, 100)]

    assert pages == [known] * 3


async def test_the_inventory_of_a_folder_names_all_folders_of_its_messages(rig: StoreRig) -> None:
    label = await rig.folder("label")
    await rig.apply(
        [
            labelled(rig, "a", rig.inbox),
            labelled(rig, "b", rig.inbox, label),
            labelled(rig, "c", label),
        ]
    )

    found = await rig.stored.inventory(label, after="", limit=10)

    assert [(message.remote_id, message.folders) for message in found] == [
        ("b", frozenset({rig.inbox, label})),
        ("c", frozenset({label})),
    ]
    assert await names(rig, label, limit=1) == ["b", "c"]


async def test_detached_messages_are_read_page_by_page_until_they_are_settled(
    rig: StoreRig,
) -> None:
    await rig.apply([labelled(rig, name, rig.inbox) for name in "abcd"])
    await rig.apply(removed=["a", "b", "d"])

    first = await rig.stored.detached(after="", limit=2)
    second = await rig.stored.detached(after="b", limit=2)
    await rig.apply(settle=True)

    assert (first, second) == (["a", "b"], ["d"])
    assert await rig.stored.detached(after="", limit=2) == []


async def test_what_is_quarantined_is_named_until_it_is_stored(rig: StoreRig) -> None:
    lost = [
        Unfetchable(remote_id=name, placement=Placement(rig.inbox), reason="500") for name in "ab"
    ]
    await rig.apply(unfetchable=lost)

    before = await rig.stored.quarantined_ids()
    await rig.apply([labelled(rig, "a", rig.inbox)])

    assert before == ["a", "b"]
    assert await rig.stored.quarantined_ids() == ["b"]


async def test_nothing_of_another_account_is_found(rig: StoreRig) -> None:
    await rig.apply([labelled(rig, "a", rig.inbox), labelled(rig, "b", rig.inbox)])
    await rig.apply(removed=["b"])
    other = await add_account(rig.connection)
    await rig.connection.execute("UPDATE messages SET provider_id = $1", other.account_id)

    assert await rig.stored.lookup(["a", "b"]) == {}
    assert await rig.stored.inventory(None, after="", limit=10) == []
    assert await rig.stored.inventory(rig.inbox, after="", limit=10) == []
    assert await rig.stored.detached(after="", limit=10) == []
