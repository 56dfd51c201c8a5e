"""What is wrong in the database, though nothing happened at Gmail, is found by the counts."""

from collections.abc import Sequence

import pytest

from emailsync.domain.errors import AuthRefused, ServerRefused, SyncError
from emailsync.emulators.gmail import errors
from emailsync.emulators.gmail.exchange import Reply
from emailsync.emulators.gmail.life import fill
from gmail_account import GmailAccount

LIVE = "SELECT remote_id, id FROM messages WHERE deleted_at IS NULL"


async def _change_the_inbox(account: GmailAccount) -> None:
    """Let something happen, for only folders that changed are counted."""
    account.mailbox.deliver(b"Subject: new\r\n\r\n", ["INBOX", "Label_1"])
    await account.sync()


async def detach(account: GmailAccount, names: Sequence[str]) -> None:
    """Leave these messages in no folder, as a sync may that was cut."""
    await account.connection.execute(
        "DELETE FROM message_folders USING messages"
        " WHERE messages.id = message_folders.message_id AND remote_id = ANY ($1)",
        names,
    )
    await account.connection.execute(
        "UPDATE messages SET detached_at = now() WHERE remote_id = ANY ($1)", names
    )


async def test_a_message_that_is_missing_is_fetched(account: GmailAccount) -> None:
    fill(account.mailbox, 60)
    await account.sync()
    await account.connection.execute(
        """DELETE FROM messages WHERE id IN (
            SELECT message_id FROM message_folders JOIN folders ON folders.id = folder_id
            WHERE path = 'INBOX' ORDER BY message_id LIMIT 3
        )"""
    )

    await _change_the_inbox(account)

    await account.assert_equal()


async def test_a_placement_that_is_missing_is_added_without_a_fetch(account: GmailAccount) -> None:
    fill(account.mailbox, 60)
    await account.sync()
    account.usage.reset()
    await account.connection.execute(
        """DELETE FROM message_folders WHERE (folder_id, message_id) IN (
            SELECT folder_id, message_id FROM message_folders JOIN folders ON folders.id = folder_id
            WHERE path = 'INBOX' ORDER BY message_id LIMIT 3
        ) AND EXISTS (
            SELECT FROM message_folders AS other WHERE other.message_id = message_folders.message_id
                AND other.folder_id <> message_folders.folder_id
        )"""
    )

    await _change_the_inbox(account)

    await account.assert_equal()
    assert account.usage.calls["messages.get"] <= 4


async def test_a_message_too_many_is_deleted_when_gmail_does_not_know_it(
    account: GmailAccount,
) -> None:
    fill(account.mailbox, 60)
    await account.sync()
    await account.connection.execute(
        """WITH copied AS (
            INSERT INTO messages (tenant_id, provider_id, remote_id, thread_key, headers,
                size_bytes, received_at, snippet, is_read)
            SELECT tenant_id, provider_id, 'ffff', thread_key, headers, size_bytes, received_at,
                snippet, is_read
            FROM messages LIMIT 1 RETURNING tenant_id, id
        )
        INSERT INTO message_folders (tenant_id, folder_id, message_id)
        SELECT copied.tenant_id, folders.id, copied.id FROM copied, folders WHERE path = 'INBOX'"""
    )

    await _change_the_inbox(account)

    await account.assert_equal()


async def test_messages_in_no_folder_are_placed_or_deleted_as_gmail_says(
    account: GmailAccount,
) -> None:
    """A sync that was cut may leave messages detached: none is deleted without asking."""
    fill(account.mailbox, 20)
    await account.sync()
    names = list(account.mailbox.messages)[:6]
    await detach(account, names)
    ids = {
        row["remote_id"]: row["id"]
        for row in await account.connection.fetch("SELECT remote_id, id FROM messages")
    }
    account.mailbox.delete(names[0])
    account.mailbox.expire_history()
    account.usage.reset()

    await account.sync()

    await account.assert_equal()
    rows = await account.connection.fetch(LIVE)
    assert all(ids[row["remote_id"]] == row["id"] for row in rows)


async def test_a_message_in_no_folder_that_gmail_cannot_tell_of_is_not_deleted(
    account: GmailAccount,
) -> None:
    """Neither an error nor the deletion of another message says that it is gone."""
    fill(account.mailbox, 20)
    await account.sync()
    gone, silent = list(account.mailbox.messages)[:2]
    await detach(account, [gone, silent])
    account.mailbox.delete(gone)
    account.emulator.faults.add(errors.as_fault(errors.backend_error(), on=f"messages/{silent}"))

    await account.sync()
    live = {row["remote_id"] for row in await account.connection.fetch(LIVE)}
    account.emulator.faults.clear()
    await account.sync()

    assert live == set(account.mailbox.messages)
    await account.assert_equal()


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (errors.invalid_argument("Precondition check failed."), ServerRefused),
        (errors.error(400, "failedPrecondition", "Precondition check failed."), ServerRefused),
        (errors.mail_service_not_enabled(), AuthRefused),
    ],
    ids=["parameter", "precondition", "no mail"],
)
async def test_a_refused_list_of_a_label_that_is_there_takes_it_from_no_message(
    account: GmailAccount, refusal: Reply, expected: type[SyncError]
) -> None:
    fill(account.mailbox, 60)
    await account.sync()
    before = await account.stored()
    account.mailbox.expire_history()
    account.emulator.faults.add(errors.as_fault(refusal, on="labelIds=Label_1"))

    with pytest.raises(expected):
        await account.sync()

    assert (await account.stored()).mail == before.mail
    account.emulator.faults.clear()
    await account.sync()
    await account.assert_equal()
