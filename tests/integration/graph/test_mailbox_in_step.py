"""One sync makes the database equal to the emulator's ledger, whatever was done to the mailbox."""

from collections.abc import Awaitable, Callable

import pytest

from emailsync.emulators.graph.items import FlagStatus, Message
from emailsync.emulators.graph.quirks import ExpiredAnswer, RemovedReason
from graph_account import OWNER, GraphAccount


def inbox(account: GraphAccount) -> list[Message]:
    return list(account.mailbox.in_folder("inbox"))


async def test_a_first_sync_stores_every_message_of_every_folder(account: GraphAccount) -> None:
    await account.sync()

    await account.assert_equal()
    assert await account.count("messages") == 30
    assert await account.count("quarantine") == 0


async def test_a_sync_with_nothing_new_writes_no_row(account: GraphAccount) -> None:
    await account.sync()
    before = await account.row_versions()

    await account.sync()

    assert await account.row_versions() == before


async def test_new_mail_arrives(account: GraphAccount) -> None:
    await account.sync()
    account.emulator.ledger.deliver_generated(OWNER, count=25)
    account.emulator.ledger.deliver_generated(OWNER, "archive", count=3)

    await account.sync()

    await account.assert_equal()
    assert await account.kinds_of_last_changes(28) == ["created"] * 28


async def test_read_and_flag_changes_are_followed_and_nothing_is_fetched(
    account: GraphAccount,
) -> None:
    await account.sync()
    messages = inbox(account)
    for message in messages[:4]:
        account.mailbox.set_read(message.id, is_read=not message.is_read)
    account.mailbox.set_flag(messages[3].id)
    account.mailbox.set_flag(messages[4].id, FlagStatus.FLAGGED)
    account.mailbox.set_flag(messages[5].id, FlagStatus.COMPLETE)
    account.mailbox.categorise(messages[6].id, ["Red category", "Blue category"])
    account.usage.reset()

    counts = await account.sync()

    await account.assert_equal()
    assert counts.fetched_bytes == 0
    assert account.usage.calls["messages.mime"] == account.usage.calls["attachments.list"] == 0


@pytest.mark.parametrize("reason", RemovedReason)
async def test_a_moved_message_keeps_its_row(account: GraphAccount, reason: RemovedReason) -> None:
    account.mailbox.quirks.moved_reason = reason
    await account.sync()
    ids = await account.message_ids()
    for message in inbox(account)[:5]:
        account.mailbox.move(message.id, "archive")

    counts = await account.sync()

    await account.assert_equal()
    assert await account.message_ids() == ids
    assert counts.fetched_bytes == 0
    assert await account.kinds_of_last_changes(5) == ["updated"] * 5


async def test_a_message_that_went_away_and_came_back_is_still_there(
    account: GraphAccount,
) -> None:
    """Its removal is reported for ever, its return never (microsoft-graph-docs issue 21752)."""
    await account.sync()
    account.mailbox.quirks.loses_returned = True
    ids = await account.message_ids()
    message = inbox(account)[0]
    account.mailbox.move(message.id, "archive")
    account.mailbox.move(message.id, "inbox")

    await account.sync()

    await account.assert_equal()
    assert await account.message_ids() == ids


async def test_trashed_messages_are_moved_and_deleted_ones_deleted(account: GraphAccount) -> None:
    await account.sync()
    messages = inbox(account)
    for message in messages[:3]:
        account.mailbox.trash(message.id)
    for message in messages[3:6]:
        account.mailbox.delete(message.id)

    await account.sync()

    await account.assert_equal()
    assert await account.count("messages WHERE deleted_at IS NOT NULL") == 3
    assert sorted(await account.kinds_of_last_changes(6)) == ["deleted"] * 3 + ["updated"] * 3


Do = Callable[[GraphAccount], Awaitable[None]]


@pytest.mark.parametrize("answer", ExpiredAnswer)
async def test_an_expired_cursor_costs_no_content_and_loses_no_change(
    account: GraphAccount, answer: ExpiredAnswer
) -> None:
    await account.sync()
    ids = await account.message_ids()
    messages = inbox(account)
    account.mailbox.delete(messages[0].id)
    account.mailbox.set_read(messages[1].id, is_read=not messages[1].is_read)
    account.mailbox.move(messages[2].id, "archive")
    account.emulator.ledger.deliver_generated(OWNER, count=2)
    account.mailbox.expire_tokens("inbox", answer=answer)
    account.usage.reset()

    await account.sync()

    await account.assert_equal()
    assert len(ids & await account.message_ids()) == 29
    assert account.usage.calls["messages.mime"] <= 2 * account.keeps_raw
    before = await account.row_versions()
    await account.sync()
    assert await account.row_versions() == before


async def test_all_cursors_expired_at_once_write_no_content_again(account: GraphAccount) -> None:
    await account.sync()
    before = (await account.row_versions())["messages"]
    account.mailbox.expire_tokens()

    counts = await account.sync()

    assert (await account.row_versions())["messages"] == before
    assert counts.fetched_bytes == 0
    await account.assert_equal()


async def test_folders_renamed_moved_made_and_deleted_are_followed(account: GraphAccount) -> None:
    await account.sync()
    mailbox = account.mailbox
    projects = next(f for f in mailbox.folders.values() if f.display_name == "Projects")
    travel = next(f for f in mailbox.folders.values() if f.display_name == "Travel")
    ids = await account.message_ids("Projects/2026")
    mailbox.rename_folder(projects.id, "Projekte & mehr")
    made = mailbox.create_folder("Brand new", projects.id)
    mailbox.move_folder(travel.id, made.id)
    account.emulator.ledger.deliver_generated(OWNER, made.id, count=2)

    await account.sync()

    await account.assert_equal()
    assert await account.message_ids("Projekte & mehr/2026") == ids
    assert await account.message_ids("Projekte & mehr/Brand new/Travel") != set()


async def test_a_deleted_folder_takes_its_messages_with_it(account: GraphAccount) -> None:
    await account.sync()
    travel = next(f for f in account.mailbox.folders.values() if f.display_name == "Travel")
    kept = account.mailbox.in_folder(travel.id)[0]
    lost = len(account.mailbox.in_folder(travel.id)) - 1
    account.mailbox.move(kept.id, "inbox")
    account.mailbox.delete_folder(travel.id)

    await account.sync()

    await account.assert_equal()
    assert await account.count("messages WHERE deleted_at IS NOT NULL") == lost


async def test_drafts_are_read_again_until_they_are_sent(account: GraphAccount) -> None:
    draft = account.mailbox.save_draft(b"Subject: First\r\n\r\nHello\r\n")
    await account.sync()
    account.mailbox.revise_draft(draft.id, b"Subject: Second\r\n\r\n<p>Hello again</p>\r\n")

    await account.sync()

    await account.assert_equal()
    rows = await account.connection.fetch("SELECT subject FROM messages WHERE is_draft")
    assert [row["subject"] for row in rows] == ["Second"]


async def test_everything_at_once_is_followed(account: GraphAccount) -> None:
    await account.sync()
    mailbox, messages = account.mailbox, inbox(account)
    mailbox.set_read(messages[0].id, is_read=not messages[0].is_read)
    mailbox.move(messages[0].id, "archive")
    mailbox.trash(messages[1].id)
    mailbox.delete(messages[1].id)
    mailbox.move(messages[2].id, "archive")
    mailbox.move(messages[2].id, "inbox")
    account.emulator.ledger.deliver_generated(OWNER, count=3)
    mailbox.move(inbox(account)[-1].id, "junkemail")
    made = mailbox.create_folder("New")
    mailbox.move(messages[3].id, made.id)

    await account.sync()

    await account.assert_equal()
    before = await account.row_versions()
    await account.sync()
    assert await account.row_versions() == before
