"""One sync brings what there is, writes nothing else, and tells of each change once."""

from collections.abc import Callable

import pytest

from contract.account_under_test import AccountUnderTest, changes_between
from contract.mailbox_under_test import MailboxUnderTest
from emailsync.domain.pages import MAX_PAGE_BYTES, MAX_PAGE_MESSAGES

MIB = 1024 * 1024


async def test_a_first_sync_brings_everything(account: AccountUnderTest) -> None:
    mailbox = account.mailbox
    mailbox.deliver(12)
    mailbox.deliver(5, mailbox.projects)
    for message in mailbox.messages(mailbox.inbox)[:4]:
        mailbox.set_read(message, is_read=True)
    for message in mailbox.messages(mailbox.inbox)[3:6]:
        mailbox.set_starred(message, is_starred=True)

    await account.sync()

    await account.assert_equal()
    stored = await account.stored()
    assert await account.feed() == {(message, "created"): 1 for message in stored.mail}


async def test_an_empty_mailbox_is_synced_too(account: AccountUnderTest) -> None:
    await account.sync()

    await account.assert_equal()


async def test_a_sync_with_nothing_new_writes_no_row(account: AccountUnderTest) -> None:
    account.mailbox.deliver(12)
    await account.sync()
    before = await account.rows()

    await account.sync()

    assert await account.rows() == before


async def test_a_page_is_of_limited_size(account: AccountUnderTest) -> None:
    account.mailbox.deliver(130)
    sizes = [3 * MIB, 3 * MIB, 3 * MIB, 9 * MIB]
    for number, size in enumerate(sizes):
        filling = (b"x" * 70 + b"\r\n") * (size // 72)
        account.mailbox.deliver_raw(b"Subject: large %d\r\n\r\n%b" % (number, filling))

    pages = await account.watched()

    await account.assert_equal()
    for page in pages:
        raws = [message.fetched.raw or b"" for message in page.messages]
        assert len(raws) <= MAX_PAGE_MESSAGES
        assert len(raws) == 1 or sum(map(len, raws)) <= MAX_PAGE_BYTES


def _deliver(mailbox: MailboxUnderTest) -> None:
    mailbox.deliver(3)
    mailbox.deliver(1, mailbox.travel)


def _read(mailbox: MailboxUnderTest) -> None:
    for message in mailbox.messages(mailbox.inbox)[:3]:
        mailbox.set_read(message, is_read=True)
    mailbox.set_read(mailbox.messages(mailbox.projects)[0], is_read=False)


def _star(mailbox: MailboxUnderTest) -> None:
    mailbox.set_starred(mailbox.messages(mailbox.inbox)[1], is_starred=True)
    mailbox.set_starred(mailbox.messages(mailbox.projects)[0], is_starred=False)


def _move(mailbox: MailboxUnderTest) -> None:
    for message in mailbox.messages(mailbox.inbox)[:2]:
        mailbox.move(message, mailbox.projects)


def _trash(mailbox: MailboxUnderTest) -> None:
    mailbox.trash(mailbox.messages(mailbox.inbox)[0])
    mailbox.trash(mailbox.messages(mailbox.projects)[1])


def _delete(mailbox: MailboxUnderTest) -> None:
    for message in mailbox.messages(mailbox.inbox)[2:5]:
        mailbox.delete(message)


def _delete_all(mailbox: MailboxUnderTest) -> None:
    for message in mailbox.messages(mailbox.inbox):
        mailbox.delete(message)


def _create_folder(mailbox: MailboxUnderTest) -> None:
    mailbox.create_folder("Überblick & mehr")


def _use_new_folder(mailbox: MailboxUnderTest) -> None:
    mailbox.create_folder("New")
    mailbox.deliver(2, "New")
    mailbox.move(mailbox.messages(mailbox.inbox)[0], "New")


def _rename_folder(mailbox: MailboxUnderTest) -> None:
    mailbox.rename_folder(mailbox.projects, "Projekte")


def _delete_folder(mailbox: MailboxUnderTest) -> None:
    mailbox.delete_folder(mailbox.projects)


def _undo(mailbox: MailboxUnderTest) -> None:
    """What is as it was is no change."""
    message = mailbox.messages(mailbox.inbox)[0]
    mailbox.set_starred(message, is_starred=True)
    mailbox.set_starred(message, is_starred=False)


KINDS = [
    _deliver,
    _read,
    _star,
    _move,
    _trash,
    _delete,
    _create_folder,
    _use_new_folder,
    _rename_folder,
    _undo,
    _delete_folder,
    _delete_all,
]


async def _prepare(account: AccountUnderTest) -> None:
    mailbox = account.mailbox
    mailbox.deliver(12)
    mailbox.deliver(4, mailbox.projects)
    mailbox.deliver(1, mailbox.travel)
    for message in mailbox.messages(mailbox.projects)[:2]:
        mailbox.set_read(message, is_read=True)
        mailbox.set_starred(message, is_starred=True)
    await account.sync()


@pytest.mark.parametrize("change", KINDS, ids=lambda change: change.__name__.strip("_"))
async def test_one_sync_brings_a_change_and_writes_nothing_else(
    account: AccountUnderTest, change: Callable[[MailboxUnderTest], None]
) -> None:
    """Nothing of a message that is as it was, and one row of the feed for each that is not."""
    await _prepare(account)
    rows, stored, place = await account.rows(), await account.stored(), await account.end_of_feed()

    change(account.mailbox)
    await account.sync()

    await account.assert_equal()
    expected = changes_between(stored, await account.stored())
    assert await account.feed(after=place) == expected
    written = rows ^ await account.rows()
    assert {row.message for row in written} - {None} == {message for message, _ in expected}
    assert {row.table for row in written if row.message is None} <= {"folders", "provider_configs"}


async def test_a_message_that_moves_keeps_its_row_and_its_id(account: AccountUnderTest) -> None:
    await _prepare(account)
    mailbox, before = account.mailbox, await account.stored()

    for message in mailbox.messages(mailbox.inbox)[:5]:
        mailbox.move(message, mailbox.travel)
    mailbox.trash(mailbox.messages(mailbox.projects)[0])
    await account.sync()

    await account.assert_equal()
    after = await account.stored()
    assert after.mail.keys() == before.mail.keys()
    assert all(after.mail[at].sha256 == before.mail[at].sha256 for at in before.mail)


async def test_everything_at_once_is_brought_by_one_sync(account: AccountUnderTest) -> None:
    await _prepare(account)
    stored, place = await account.stored(), await account.end_of_feed()

    for change in (_deliver, _read, _star, _move, _trash, _delete, _use_new_folder):
        change(account.mailbox)
    _rename_folder(account.mailbox)
    await account.sync()

    await account.assert_equal()
    assert await account.feed(after=place) == changes_between(stored, await account.stored())
    before = await account.rows()
    await account.sync()
    assert await account.rows() == before


async def test_checks_count_what_the_provider_has(account: AccountUnderTest) -> None:
    await _prepare(account)
    mailbox = account.mailbox
    _deliver(mailbox)
    _move(mailbox)
    _delete(mailbox)

    pages = await account.watched()

    paths = {folder: path for folder, (path, _) in (await account.stored()).folders.items()}
    checks = [page.changes.check for page in pages if page.changes.check]
    counted = {paths[check.folder_id]: check.remote_count for check in checks}
    truth = mailbox.truth()
    assert {mailbox.inbox, mailbox.projects, mailbox.travel} <= counted.keys()
    assert counted == {path: truth.count(path) for path in counted}
    for remote, ours in (await account.counts()).values():
        assert remote in {None, ours}
