"""One sync of a real Dovecot makes the database equal to the server, whatever was done to it.

Each step runs against three faces of the server: QRESYNC, CONDSTORE alone, and neither.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dovecot import DovecotServer
from dovecot_mailbox import DovecotMailbox
from emailsync.emulators.mail_generator import generate
from sync_harness import SyncedAccount, synced_account

FACES = ("host", "condstore_host", "plain_host")


@pytest.fixture(params=FACES)
async def account(
    request: pytest.FixtureRequest,
    dovecot: DovecotServer,
    mailbox: DovecotMailbox,
    database_url: str,
    tmp_path: Path,
) -> AsyncIterator[SyncedAccount]:
    """An account of a mailbox with thirty messages in two folders, not yet synced."""
    mailbox.deliver(generate(1, n, recipient=mailbox.user) for n in range(20))
    mailbox.create("Projects/Überblick")
    mailbox.deliver(
        (generate(2, n, recipient=mailbox.user) for n in range(10)), folder="Projects/Überblick"
    )
    host = getattr(dovecot, request.param)
    key_file = tmp_path / "keys"
    async with synced_account(
        database_url, mailbox, host=host, port=dovecot.port, key_file=key_file
    ) as account:
        yield account


async def test_a_first_sync_stores_every_message_of_every_folder(account: SyncedAccount) -> None:
    await account.sync()

    await account.assert_equal()
    assert await account.count("messages") == 30


async def test_a_sync_with_nothing_new_writes_no_row(account: SyncedAccount) -> None:
    await account.sync()
    before = await account.row_versions()

    await account.sync()

    assert await account.row_versions() == before


async def test_flag_changes_are_followed(account: SyncedAccount) -> None:
    await account.sync()
    uids = account.mailbox.uids()
    account.mailbox.add_flags(uids[:3], "\\Seen", "\\Flagged")
    account.mailbox.add_flags(uids[3:5], "\\Answered", "\\Draft", "$Forwarded")
    account.mailbox.remove_flags(uids[5:8], "\\Seen")

    await account.sync()

    await account.assert_equal()


async def test_expunged_messages_are_deleted(account: SyncedAccount) -> None:
    await account.sync()
    account.mailbox.expunge(account.mailbox.uids()[4:9])

    await account.sync()

    await account.assert_equal()
    assert await account.kinds_of_last_changes(5) == ["deleted"] * 5


async def test_a_moved_message_keeps_its_row(account: SyncedAccount) -> None:
    await account.sync()
    ids = await account.message_ids()
    account.mailbox.move(account.mailbox.uids()[2:6], "Archive")

    await account.sync()

    await account.assert_equal()
    assert await account.message_ids() == ids


async def test_a_copied_message_is_a_row_of_its_own(account: SyncedAccount) -> None:
    """The flags of a copy are its own (RFC 9051 section 6.4.7)."""
    await account.sync()
    account.mailbox.copy(account.mailbox.uids()[:2], "Archive")

    await account.sync()

    await account.assert_equal()
    assert await account.count("messages") == 32


async def test_new_mail_arrives(account: SyncedAccount) -> None:
    await account.sync()
    account.mailbox.deliver(generate(3, n, recipient="x@example.test") for n in range(7))

    await account.sync()

    await account.assert_equal()


async def test_a_renamed_folder_keeps_its_messages_and_downloads_nothing(
    account: SyncedAccount,
) -> None:
    await account.sync()
    ids = await account.message_ids()
    account.mailbox.rename("Projects/Überblick", "Projekte & mehr")
    account.mailbox.create("Brand new")

    counts = await account.sync()

    await account.assert_equal()
    assert await account.message_ids() == ids
    assert counts.fetched_bytes == 0


async def test_a_folder_made_anew_keeps_the_rows_of_messages_that_are_back(
    account: SyncedAccount,
) -> None:
    """UIDVALIDITY changed; the same messages lie there under other UIDs, and one new one."""
    await account.sync()
    mails = [generate(2, n, recipient=account.mailbox.user) for n in range(10)]
    ids = await account.message_ids("Projects/Überblick")
    account.mailbox.delete("Projects/Überblick")
    account.mailbox.create("Projects/Überblick")
    account.mailbox.deliver(mails[3:], folder="Projects/Überblick")
    account.mailbox.append(b"Subject: another\r\n\r\nhello\r\n", folder="Projects/Überblick")

    counts = await account.sync()

    await account.assert_equal()
    assert len(ids & await account.message_ids("Projects/Überblick")) == 7
    assert counts.fetched_bytes < 200


async def test_a_deleted_folder_takes_its_messages_with_it(account: SyncedAccount) -> None:
    await account.sync()
    account.mailbox.delete("Projects/Überblick")

    await account.sync()

    await account.assert_equal()
    assert await account.count("messages WHERE deleted_at IS NOT NULL") == 10


async def test_everything_at_once_is_followed(account: SyncedAccount) -> None:
    await account.sync()
    uids = account.mailbox.uids()
    account.mailbox.add_flags(uids, "\\Seen")
    account.mailbox.move(uids[:5], "Projects/Überblick")
    account.mailbox.expunge(uids[5:8])
    account.mailbox.copy(uids[8:10], "Trash")
    account.mailbox.rename("Projects/Überblick", "Renamed")
    account.mailbox.deliver(generate(4, n, recipient="x@example.test") for n in range(3))

    await account.sync()

    await account.assert_equal()
    before = await account.row_versions()
    await account.sync()
    assert await account.row_versions() == before


async def test_a_message_that_comes_back_within_the_grace_keeps_its_row(
    account: SyncedAccount,
) -> None:
    await account.sync()
    ids = await account.message_ids()
    raw = generate(1, 0, recipient=account.mailbox.user).raw
    account.mailbox.expunge(account.mailbox.uids()[:1])
    await account.sync()
    account.mailbox.append(raw, folder="Archive")

    await account.sync()

    await account.assert_equal()
    assert await account.message_ids() == ids


async def test_identical_messages_are_stored_as_often_as_the_server_has_them(
    account: SyncedAccount,
) -> None:
    for _ in range(3):
        account.mailbox.append(b"Message-ID: <same@x>\r\nSubject: twin\r\n\r\nhello\r\n")

    await account.sync()

    await account.assert_equal()
