"""What a page writes, step by step, and that it writes nothing twice."""

import hashlib
import random
from dataclasses import replace
from datetime import UTC, datetime

from emailsync.config import LiveSettings, Settings
from emailsync.domain.folders import AccountCursor, FolderCursor
from emailsync.domain.mail import Address, Flags
from emailsync.domain.pages import (
    FlagChange,
    FolderCheck,
    PageResult,
    Placement,
    PlacementChange,
    Unfetchable,
)
from emailsync.store.mail import PostgresMailStore
from store_rig import KEYS, StoreRig, changed

CURSOR = FolderCursor(uid_validity=2**32 - 1, uid_next=2**32 - 1, highest_modseq=2**63 - 1)


async def test_a_new_message_becomes_a_row_with_everything_it_says(rig: StoreRig) -> None:
    sent_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    message = rig.message(
        1,
        "hello",
        flags=Flags(is_read=True, keywords=('quo"te', "back\\slash", "plain", "", "NULL")),
        thread_key="thread",
        message_id="id@example.test",
        in_reply_to="other@example.test",
        to=(Address("Bob", "bob@example.test"),),
        sent_at=sent_at,
        snippet="hell",
        body_html="<p>hello</p>",
        parse_error="odd",
    )

    result = await rig.apply([message])

    (row,) = await rig.rows("SELECT * FROM messages")
    assert result == PageResult(created=1)
    assert row["remote_id"] == rig.name(1)
    assert row["keywords"] == ['quo"te', "back\\slash", "plain", "", "NULL"]
    assert row["to_addresses"] == '[{"name": "Bob", "address": "bob@example.test"}]'
    assert row["headers"] == '{"subject": ["hello"]}'
    assert (row["thread_key"], row["message_id"]) == ("thread", "id@example.test")
    assert (row["from_name"], row["from_address"]) == ("Ann", "ann@example.test")
    assert (row["sent_at"], row["raw"], row["raw_sha256"]) == (
        sent_at,
        b"hello",
        message.raw_sha256,
    )
    assert (row["is_read"], row["is_starred"], row["has_attachments"]) == (True, False, True)
    assert (row["body_text"], row["body_html"]) == ("hello", "<p>hello</p>")
    (part,) = await rig.rows("SELECT * FROM attachments")
    assert (part["message_id"], part["filename"], part["size_bytes"]) == (row["id"], "a.txt", 3)
    assert await rig.uids() == [1]
    assert await rig.feed() == [(row["id"], "created")]


async def test_a_page_applied_again_writes_no_row(rig: StoreRig) -> None:
    """A crash after COMMIT makes the same page arrive once more."""
    messages = [rig.message(uid, flags=Flags(keywords=("a",))) for uid in (1, 2, 3)]
    check = FolderCheck(folder_id=rig.inbox, remote_count=3)
    page = {"cursors": {rig.inbox: CURSOR}, "check": check, "settle": True}
    await rig.apply(messages, **page)
    before = await rig.row_versions()

    result = await rig.apply(messages, **page)

    assert result == PageResult(stored_count=3)
    assert await rig.row_versions() == before


async def test_a_difference_that_a_comparison_left_is_compared_anew_only_when_it_changes(
    rig: StoreRig,
) -> None:
    """Or new mail in a folder whose server counts a ghost would have it compared at each sync."""

    async def is_due_after(uid: int, *, remote_count: int) -> bool:
        check = FolderCheck(folder_id=rig.inbox, remote_count=remote_count)
        await rig.apply([rig.message(uid)])
        await rig.apply(check=check)
        return await rig.stored.comparison_due(but=()) is not None

    at_first = await is_due_after(1, remote_count=2)
    before_it_is_compared = await is_due_after(2, remote_count=3)
    await rig.apply(compared=(rig.inbox,))
    same = await is_due_after(3, remote_count=4)
    more = await is_due_after(4, remote_count=6)

    assert (at_first, before_it_is_compared, same, more) == (True, True, False, True)


async def test_a_page_that_is_stored_in_part_is_completed_and_moves_its_cursor(
    rig: StoreRig,
) -> None:
    """What was taken for new mail is written in one statement; what is known needs more."""
    await rig.apply([rig.message(1, "draft")])

    result = await rig.apply(
        [rig.message(1, "final"), rig.message(2, "new")], cursors={rig.inbox: CURSOR}
    )

    ids = await rig.ids()
    (folder,) = await rig.stored.folders()
    assert result == PageResult(created=1, updated=1)
    assert folder.cursor == CURSOR
    assert await rig.rows("SELECT subject FROM messages ORDER BY remote_id") == [
        {"subject": "final"},
        {"subject": "new"},
    ]
    assert await rig.feed() == [
        (ids[rig.name(1)], "created"),
        (ids[rig.name(2)], "created"),
        (ids[rig.name(1)], "updated"),
    ]


async def test_a_message_named_twice_in_a_page_is_stored_as_it_was_named_last(
    rig: StoreRig,
) -> None:
    messages = [rig.message(1, "first"), rig.message(1, "second")]

    result = await rig.apply(messages)

    assert result == PageResult(created=1)
    assert await rig.rows("SELECT subject FROM messages") == [{"subject": "second"}]


async def test_a_message_that_changed_at_the_provider_is_updated_in_place(rig: StoreRig) -> None:
    """Drafts are edited under one name by Graph."""
    await rig.apply([rig.message(1, "draft"), rig.message(2, "same")])
    before = await rig.ids()

    result = await rig.apply([rig.message(1, "final", attachments=()), rig.message(2, "same")])

    ids = await rig.ids()
    assert result == PageResult(updated=1)
    assert ids == before
    assert await rig.rows("SELECT subject, raw FROM messages WHERE id = $1", ids[rig.name(1)]) == [
        {"subject": "final", "raw": b"final"}
    ]
    assert await rig.rows("SELECT message_id FROM attachments") == [
        {"message_id": ids[rig.name(2)]}
    ]
    assert (await rig.feed())[-1] == (ids[rig.name(1)], "updated")


async def test_a_changed_attachment_alone_makes_the_message_updated(rig: StoreRig) -> None:
    message = rig.message(1)
    await rig.apply([message])
    (part,) = message.parsed.attachments

    result = await rig.apply([changed(message, attachments=(replace(part, filename="b.txt"),))])

    assert result == PageResult(updated=1)
    assert await rig.rows("SELECT filename FROM attachments") == [{"filename": "b.txt"}]


async def test_without_store_raw_the_bytes_are_left_out_and_their_hash_is_kept(
    rig: StoreRig,
) -> None:
    settings = LiveSettings(Settings.model_validate({"store": {"raw": False}}))
    rig.store = PostgresMailStore(rig.database, KEYS, settings)
    message = rig.message(1)

    await rig.apply([message])

    assert await rig.rows("SELECT raw, raw_sha256 FROM messages") == [
        {"raw": None, "raw_sha256": message.raw_sha256}
    ]


async def test_switching_store_raw_off_keeps_the_bytes_that_are_there(rig: StoreRig) -> None:
    await rig.apply([rig.message(1)])
    settings = LiveSettings(Settings.model_validate({"store": {"raw": False}}))
    rig.store = PostgresMailStore(rig.database, KEYS, settings)

    result = await rig.apply([rig.message(1)])

    assert result == PageResult()
    assert await rig.rows("SELECT raw FROM messages") == [{"raw": b"message 1"}]


async def test_a_large_message_is_stored_in_pieces_and_stalls_nobody(rig: StoreRig) -> None:
    """It is the same row as any other, and applying it again writes nothing."""
    raw = random.Random(50).randbytes(10_000_000)
    large = rig.message(1, raw=raw, size_bytes=len(raw), raw_sha256=hashlib.sha256(raw).digest())

    first = await rig.apply([large, rig.message(2)])
    before = await rig.row_versions()
    again = await rig.apply([large, rig.message(2)])

    (row,) = await rig.rows("SELECT raw FROM messages WHERE remote_id = $1", rig.name(1))
    assert (first, again) == (PageResult(created=2), PageResult())
    assert row["raw"] == raw
    assert await rig.row_versions() == before
    assert await rig.rows("SELECT FROM raw_pieces") == []


async def test_a_truncated_message_is_marked(rig: StoreRig) -> None:
    await rig.apply([rig.message(1, "Subject: x", truncated=True, size_bytes=10**9)])

    assert await rig.rows("SELECT is_truncated, size_bytes, raw FROM messages") == [
        {"is_truncated": True, "size_bytes": 10**9, "raw": b"Subject: x"}
    ]


async def test_flags_are_written_only_where_they_differ(rig: StoreRig) -> None:
    read = Flags(is_read=True, keywords=("$Forwarded",))
    await rig.apply([rig.message(1, flags=read), rig.message(2)])
    before = await rig.rows("SELECT xmin::text FROM messages WHERE is_read")

    result = await rig.apply(
        flags=[
            FlagChange(rig.name(1), read),
            FlagChange(rig.name(2), Flags(is_starred=True)),
            FlagChange(rig.name(99), read),
        ]
    )

    assert result == PageResult(updated=1)
    assert await rig.rows("SELECT xmin::text FROM messages WHERE is_read") == before
    assert await rig.rows("SELECT remote_id FROM messages WHERE is_starred") == [
        {"remote_id": rig.name(2)}
    ]


async def test_what_lies_in_no_folder_is_detached_and_deleted_only_when_settled(
    rig: StoreRig,
) -> None:
    await rig.apply([rig.message(uid) for uid in (1, 2, 3)])
    ids = await rig.ids()

    detached = await rig.apply(removed=[rig.name(1)], removed_from={rig.inbox: [2, 99]})
    settled = await rig.apply(settle=True)

    assert detached == PageResult()
    assert settled == PageResult(deleted=2)
    assert set(await rig.ids()) == {rig.name(3)}
    assert await rig.uids() == [3]
    assert (await rig.feed())[3:] == [
        (ids[rig.name(1)], "deleted"),
        (ids[rig.name(2)], "deleted"),
    ]
    assert await rig.rows("SELECT FROM messages WHERE detached_at IS NOT NULL") == []


async def test_a_message_in_two_folders_survives_the_loss_of_one(rig: StoreRig) -> None:
    label = await rig.folder("label")
    message = rig.message(1, placements=(Placement(rig.inbox, 1), Placement(label, 5)))
    await rig.apply([message])

    result = await rig.apply(removed_from={label: [5]}, settle=True)

    assert result == PageResult(updated=1)
    assert (await rig.uids(), await rig.uids(label)) == ([1], [])


async def test_placements_are_exactly_those_named(rig: StoreRig) -> None:
    """A labelled message has no UIDs."""
    first, second = await rig.folder("first"), await rig.folder("second")
    await rig.apply([rig.message(1, placements=(Placement(rig.inbox), Placement(first)))])
    moves = [
        PlacementChange(rig.name(1), (Placement(first), Placement(second))),
        PlacementChange("unknown", (Placement(first),)),
    ]

    result = await rig.apply(placements=moves)
    again = await rig.apply(placements=moves)

    rows = await rig.rows("SELECT folder_id FROM message_folders ORDER BY folder_id")
    assert (result, again) == (PageResult(updated=1), PageResult())
    assert [row["folder_id"] for row in rows] == [first, second]


async def test_a_message_moved_nowhere_is_detached(rig: StoreRig) -> None:
    await rig.apply([rig.message(1, placements=(Placement(rig.inbox),))])

    result = await rig.apply(placements=[PlacementChange(rig.name(1), ())], settle=True)

    assert result == PageResult(deleted=1)


async def test_a_uid_that_names_another_message_now_displaces_the_old_one(rig: StoreRig) -> None:
    """A server that uses a UID twice is wrong (RFC 9051 section 2.3.1.1) and has the last word."""
    await rig.apply([rig.message(1, "old")])

    result = await rig.apply([rig.message(1, "new", remote_id="new-name")], settle=True)

    assert result == PageResult(created=1, deleted=1)
    assert list(await rig.ids()) == ["new-name"]
    assert await rig.uids() == [1]


async def test_cursors_and_bookmarks_are_replaced_as_they_come(rig: StoreRig) -> None:
    first = AccountCursor(last_sync_uid="7:10", resume_token="page 2")
    await rig.apply(cursors={rig.inbox: CURSOR}, account_cursor=first)

    await rig.apply(
        cursors={rig.inbox: replace(CURSOR, highest_modseq=None, backfill_before=5)},
        account_cursor=AccountCursor(last_history_id="123", resume_token=""),
    )

    (folder,) = await rig.stored.folders()
    assert folder.cursor == replace(CURSOR, highest_modseq=None, backfill_before=5)
    assert await rig.rows(
        "SELECT last_sync_uid, last_history_id, resume_token FROM provider_configs"
    ) == [{"last_sync_uid": "7:10", "last_history_id": "123", "resume_token": None}]


async def test_a_check_counts_quarantined_messages_as_stored(rig: StoreRig) -> None:
    lost = Unfetchable(
        remote_id=rig.name(2), placement=Placement(rig.inbox, 2), reason="the server says NO"
    )

    result = await rig.apply(
        [rig.message(1)],
        unfetchable=[lost],
        check=FolderCheck(folder_id=rig.inbox, remote_count=3),
    )

    (folder,) = await rig.stored.folders()
    assert result == PageResult(created=1, quarantined=1, stored_count=2)
    assert (folder.stored_count, folder.remote_count) == (2, 3)
    assert await rig.stored.quarantined_uids(rig.inbox) == [2]


async def test_a_quarantined_message_that_arrives_after_all_leaves_the_quarantine(
    rig: StoreRig,
) -> None:
    lost = Unfetchable(remote_id=rig.name(1), placement=Placement(rig.inbox, 1), reason="NO")
    await rig.apply(unfetchable=[lost])

    await rig.apply([rig.message(1)])

    assert await rig.rows("SELECT FROM quarantine") == []


async def test_what_the_provider_removes_leaves_the_quarantine(rig: StoreRig) -> None:
    lost = [
        Unfetchable(remote_id=rig.name(uid), placement=Placement(rig.inbox, uid), reason="NO")
        for uid in (1, 2, 3)
    ]
    await rig.apply(unfetchable=lost)

    await rig.apply(removed=[rig.name(1)], removed_from={rig.inbox: [2]})

    assert await rig.stored.quarantined_uids(rig.inbox) == [3]


async def test_a_page_with_changes_notifies_once(rig: StoreRig, database_url: str) -> None:
    heard: list[str] = []
    await rig.connection.add_listener(
        "emailsync_changes", lambda *notification: heard.append(notification[3])
    )

    await rig.apply([rig.message(uid) for uid in range(1, 51)])
    await rig.apply(settle=True)
    await rig.connection.execute("SELECT 1")  # what was sent before it has arrived with it

    assert heard == ["acme"]
