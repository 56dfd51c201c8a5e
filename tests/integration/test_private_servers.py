"""The servers that the other tests stand on behave as their fixtures say."""

import imaplib
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from clock import SettableClock
from dovecot import PASSWORD, DovecotServer
from dovecot_mailbox import DovecotMailbox, StoredMessage
from emailsync.domain.mail import Flags
from emailsync.emulators.mail_generator import GeneratedMail
from reused_database import ReusedDatabase

RAW = b"Subject: Hello\r\n\r\nHello.\r\n"


#: A change, or many: of the tenant a, which is made.
ADD_CHANGES = """
WITH tenant AS (INSERT INTO tenants (id) VALUES ('a') ON CONFLICT DO NOTHING)
INSERT INTO changes (tenant_id, provider_id, message_id, kind)
SELECT 'a', gen_random_uuid(), number, 'created' FROM generate_series(1, {}) AS number
"""
MANY_CHANGES = ADD_CHANGES.format(150_000)
A_SETTING = """
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 100', current_database()); END $$
"""


@pytest.fixture
def lender(reused_database: ReusedDatabase) -> Iterator[ReusedDatabase]:
    """What lends the databases of the tests; nothing is lent."""
    yield reused_database
    reused_database.drop()


async def run(url: str, statement: str = "SELECT 1") -> tuple[int, int]:
    """Add a change, run the statement; return how many changes there are and the last number."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(ADD_CHANGES.format(1))
        await connection.execute(statement)
        row = await connection.fetchrow("SELECT count(*), max(seq) FROM changes")
        assert row is not None
        return tuple(row)
    finally:
        await connection.close()


async def test_a_database_that_is_lent_again_has_no_rows_and_counts_from_one(
    lender: ReusedDatabase,
) -> None:
    first = lender.lend()
    assert await run(first) == (1, 1)
    lender.take_back()

    second = lender.lend()

    assert await run(second) == (1, 1)
    assert second == first


async def test_who_is_connected_when_a_database_is_taken_back_is_so_no_more(
    lender: ReusedDatabase,
) -> None:
    """With an open transaction, whose locks would keep the next test waiting."""
    left = await asyncpg.connect(lender.lend())
    await left.execute("BEGIN; LOCK TABLE changes")

    lender.take_back()

    with pytest.raises((asyncpg.PostgresError, OSError, asyncpg.InterfaceError)):
        await left.fetchval("SELECT 1")
    await left.close()


@pytest.mark.parametrize(
    "changed",
    [
        "CREATE TABLE another (id int)",
        "CREATE INDEX ON changes (message_id)",
        "DROP INDEX changes_at_idx",
        "ALTER TABLE changes DROP CONSTRAINT changes_kind_check",
        "ANALYZE changes",
        A_SETTING,
        MANY_CHANGES,
    ],
)
async def test_a_database_that_is_changed_otherwise_is_not_lent_again(
    lender: ReusedDatabase, changed: str
) -> None:
    first = lender.lend()
    await run(first, changed)

    lender.take_back()

    assert lender.lend() != first


async def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    try:
        assert await connection.fetchval("SELECT to_regclass('messages')") is None
    finally:
        await connection.close()


def test_a_new_mailbox_has_the_special_folders_and_no_mail(mailbox: DovecotMailbox) -> None:
    snapshot = mailbox.snapshot()

    assert list(snapshot) == ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]
    assert not any(snapshot.values())


def test_what_is_done_to_a_mailbox_shows_in_its_snapshot(mailbox: DovecotMailbox) -> None:
    first = mailbox.append(RAW, flags=["\\Seen", "$Work"])
    second = mailbox.append(RAW)
    third = mailbox.append(RAW)
    mailbox.create('Entwürfe & "Co"/2026')

    mailbox.add_flags([second], "\\Flagged")
    mailbox.remove_flags([first], "\\Seen")
    mailbox.move([first], 'Entwürfe & "Co"/2026')
    mailbox.copy([second], "Archive")
    mailbox.expunge([third])

    digest = mailbox.snapshot()["INBOX"][second].sha256
    assert {path: mails for path, mails in mailbox.snapshot().items() if mails} == {
        "Archive": {1: StoredMessage(digest, frozenset({"\\Flagged"}))},
        'Entwürfe & "Co"/2026': {1: StoredMessage(digest, frozenset({"$Work"}))},
        "INBOX": {second: StoredMessage(digest, frozenset({"\\Flagged"}))},
    }


def test_folders_are_renamed_and_deleted(mailbox: DovecotMailbox) -> None:
    mailbox.create("Old")
    mailbox.append(RAW, folder="Old")

    mailbox.rename("Old", "New")
    renamed = mailbox.folders()
    mailbox.delete("New")

    assert "New" in renamed
    assert "Old" not in renamed
    assert "New" not in mailbox.folders()


def test_many_mails_are_delivered_with_their_dates_and_flags(mailbox: DovecotMailbox) -> None:
    sent_at = datetime(2025, 6, 7, 8, 9, 10, tzinfo=UTC)
    mails = [
        GeneratedMail(RAW + b"%d" % number, sent_at, Flags(is_read=True)) for number in range(1200)
    ]

    count = mailbox.deliver(mails)

    with mailbox.selected("INBOX") as imap:
        _, answer = imap.uid("FETCH", "1200", "(FLAGS INTERNALDATE)")
    assert count == 1200
    assert len(mailbox.uids()) == 1200
    assert b"\\Seen" in answer[0]
    received = imaplib.Internaldate2tuple(answer[0])
    assert received is not None
    assert time.mktime(received) == sent_at.timestamp()


def test_starttls_and_tls_present_a_certificate_of_the_private_authority(
    dovecot: DovecotServer,
) -> None:
    trust = ssl.create_default_context(cafile=dovecot.ca_file)

    with imaplib.IMAP4(dovecot.host, dovecot.port) as upgraded:
        upgraded.starttls(trust)
        status, _ = upgraded.login("tls", PASSWORD)
        assert status == "OK"
    with imaplib.IMAP4_SSL(dovecot.host, dovecot.tls_port, ssl_context=trust) as encrypted:
        status, _ = encrypted.login("tls", PASSWORD)
        assert status == "OK"


@pytest.mark.parametrize(
    ("user", "password", "code"),
    [
        ("wrong-password", "guess", "AUTHENTICATIONFAILED"),
        ("denied-user", PASSWORD, "AUTHENTICATIONFAILED"),
        ("unavailable-user", PASSWORD, "UNAVAILABLE"),
    ],
)
def test_logins_are_refused_by_name_and_counted(
    dovecot: DovecotServer, user: str, password: str, code: str
) -> None:
    imap = imaplib.IMAP4(dovecot.host, dovecot.port)

    with imap, pytest.raises(imaplib.IMAP4.error, match=code):
        imap.login(user, password)

    assert dovecot.login_attempts(user) == 1


def test_the_other_addresses_admit_to_fewer_extensions(dovecot: DovecotServer) -> None:
    def capabilities(host: str) -> tuple[str, ...]:
        with imaplib.IMAP4(host, dovecot.port) as imap:
            imap.login("capable", PASSWORD)
            imap._get_capabilities()  # it asked before the login only
            return imap.capabilities

    assert "QRESYNC" in capabilities(dovecot.host)
    assert "CONDSTORE" in capabilities(dovecot.condstore_host)
    assert "QRESYNC" not in capabilities(dovecot.condstore_host)
    assert "CONDSTORE" not in capabilities(dovecot.plain_host)


def test_a_clock_moves_only_when_told(clock: SettableClock) -> None:
    before = clock.now(), clock.monotonic()

    clock.advance(timedelta(minutes=5))

    assert clock.now() - before[0] == timedelta(minutes=5)
    assert clock.monotonic() - before[1] == 300.0
