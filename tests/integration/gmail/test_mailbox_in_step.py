"""After whatever happens in a Gmail mailbox, one sync makes the database equal to it."""

from collections.abc import Callable

import pytest

from emailsync.emulators.gmail.ledger import GmailMailbox
from emailsync.emulators.gmail.life import fill
from gmail_account import GmailAccount


async def test_a_first_sync_stores_every_message_with_its_labels_and_flags(
    account: GmailAccount,
) -> None:
    fill(account.mailbox, 230)

    await account.sync()

    await account.assert_equal()
    assert await account.unexplained_counts() == []
    assert (await account.cursor())["resume_token"] is None


async def test_an_empty_mailbox_is_synced_too(account: GmailAccount) -> None:
    await account.sync()

    await account.assert_equal()


async def test_a_sync_with_nothing_new_writes_no_row(account: GmailAccount) -> None:
    fill(account.mailbox, 30)
    await account.sync()
    before = await account.row_versions(), await account.cursor()

    await account.sync()

    assert (await account.row_versions(), await account.cursor()) == before


def _deliver(mailbox: GmailMailbox) -> None:
    for _ in range(3):
        mailbox.deliver_generated()
    mailbox.deliver(b"Subject: labelled\r\n\r\nHello\r\n", ["INBOX", "Label_1", "IMPORTANT"])


def _read_and_star(mailbox: GmailMailbox) -> None:
    for number, name in enumerate(mailbox.messages):
        (mailbox.mark_read, mailbox.mark_unread, mailbox.star, mailbox.unstar)[number % 4](name)


def _move_between_labels(mailbox: GmailMailbox) -> None:
    for number, name in enumerate(mailbox.messages):
        if number % 3 == 0:
            mailbox.modify(name, add=["Label_2"], remove=["INBOX", "Label_1"])
        elif number % 3 == 1:
            mailbox.archive(name)


def _take_every_label(mailbox: GmailMailbox) -> None:
    for name, message in mailbox.messages.items():
        mailbox.modify(name, remove=message.labels)


def _trash(mailbox: GmailMailbox) -> None:
    for number, name in enumerate(mailbox.messages):
        if number % 2:
            mailbox.trash(name)
        elif number % 3:
            mailbox.mark_spam(name)


def _untrash(mailbox: GmailMailbox) -> None:
    for name, message in mailbox.messages.items():
        if "TRASH" in message.labels:
            mailbox.untrash(name)


def _delete_for_ever(mailbox: GmailMailbox) -> None:
    for name in list(mailbox.messages)[::2]:
        mailbox.delete(name)


def _delete_most(mailbox: GmailMailbox) -> None:
    for name in list(mailbox.messages)[4:]:
        mailbox.delete(name)


def _save_drafts(mailbox: GmailMailbox) -> None:
    draft = mailbox.save_draft(b"Subject: one\r\n\r\n1\r\n")
    mailbox.save_draft(b"Subject: two\r\n\r\n2\r\n", replaces=draft)


def _rename_label(mailbox: GmailMailbox) -> None:
    mailbox.rename_label("Label_1", "Another name")
    mailbox.create_label("Empty one")


def _delete_label(mailbox: GmailMailbox) -> None:
    only_there = mailbox.deliver(b"Subject: only there\r\n\r\n", ["Label_1"])
    mailbox.deliver(b"Subject: in two\r\n\r\n", ["Label_1", "Label_2", "INBOX"])
    assert only_there
    mailbox.delete_label("Label_1")


def _delete_label_with_record(mailbox: GmailMailbox) -> None:
    mailbox.delete_label("Label_1", recorded=True)


def _use_a_new_label_and_delete_it(mailbox: GmailMailbox) -> None:
    label = mailbox.create_label("Short-lived")
    for name in list(mailbox.messages)[:3]:
        mailbox.modify(name, add=[label], remove=["INBOX"])
    mailbox.delete_label(label)


def _use_a_new_label(mailbox: GmailMailbox) -> None:
    label = mailbox.create_label("New")
    for name in list(mailbox.messages)[:3]:
        mailbox.modify(name, add=[label])
    mailbox.deliver_generated([label, "UNREAD"])


def _undo(mailbox: GmailMailbox) -> None:
    for name in list(mailbox.messages):
        mailbox.star(name)
        mailbox.trash(name)
        mailbox.untrash(name)
        mailbox.unstar(name)
    mailbox.delete(mailbox.deliver_generated())


STEPS = [
    _deliver,
    _read_and_star,
    _move_between_labels,
    _take_every_label,
    _trash,
    _untrash,
    _delete_for_ever,
    _delete_most,
    _save_drafts,
    _rename_label,
    _delete_label,
    _delete_label_with_record,
    _use_a_new_label,
    _use_a_new_label_and_delete_it,
    _undo,
]


@pytest.mark.parametrize("history", ["known", "expired"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__.strip("_"))
async def test_one_sync_brings_what_happened(
    account: GmailAccount, step: Callable[[GmailMailbox], None], history: str
) -> None:
    fill(account.mailbox, 70)
    await account.sync()

    step(account.mailbox)
    if history == "expired":
        account.mailbox.expire_history()
    await account.sync()

    await account.assert_equal()
    assert await account.unexplained_counts() == []
    assert await account.count("quarantine") == 0
    before = await account.row_versions()
    await account.sync()
    assert await account.row_versions() == before


async def test_everything_at_once_is_brought_by_one_sync_too(account: GmailAccount) -> None:
    fill(account.mailbox, 120)
    await account.sync()

    for step in (_deliver, _read_and_star, _move_between_labels, _trash, _delete_for_ever):
        step(account.mailbox)
    _save_drafts(account.mailbox)
    _rename_label(account.mailbox)
    _delete_label(account.mailbox)
    await account.sync()

    await account.assert_equal()


async def test_changes_of_labels_and_flags_fetch_no_message(account: GmailAccount) -> None:
    fill(account.mailbox, 60)
    await account.sync()
    account.usage.reset()

    _read_and_star(account.mailbox)
    _move_between_labels(account.mailbox)
    _trash(account.mailbox)
    await account.sync()

    await account.assert_equal()
    assert account.usage.calls["messages.get"] == 0


async def test_an_expired_history_fetches_no_stored_message_again(account: GmailAccount) -> None:
    fill(account.mailbox, 60)
    await account.sync()
    account.usage.reset()

    account.mailbox.deliver_generated()
    _read_and_star(account.mailbox)
    _move_between_labels(account.mailbox)
    account.mailbox.expire_history()
    await account.sync()

    await account.assert_equal()
    assert account.usage.calls["messages.get"] == 1
