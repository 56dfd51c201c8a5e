"""UIDs that begin a new life, or say so: nothing is downloaded again, doubled or lost."""

import re
from datetime import UTC, datetime

import pytest

from emailsync.domain.errors import Unreachable
from emailsync.domain.imap_plan import MAX_GENERATIONS
from emailsync.providers.imap import session
from faulty_imap import MESSAGES, WITHOUT_QRESYNC, Once, replacing
from rewriting_proxy import RewritingProxy
from sync_harness import SyncedAccount


@pytest.mark.parametrize("validity", [b"1", b"4294967295"], ids=["lower", "higher"])
async def test_a_changed_uidvalidity_downloads_nothing_again(
    account: SyncedAccount, proxy: RewritingProxy, validity: bytes
) -> None:
    await account.sync()
    ids = await account.message_ids()
    proxy.rewrite = replacing(rb"UIDVALIDITY \d+", b"UIDVALIDITY " + validity)

    counts = await account.sync()

    await account.assert_equal()
    assert await account.message_ids() == ids
    assert counts.fetched_bytes == 0


async def test_a_folder_whose_uidvalidity_never_stays_is_parked_and_tried_daily(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    """The folder alone: the other folders of the account go on."""
    await account.sync()
    ids = await account.message_ids()
    lives = iter(range(5, 2**31))

    def never_stays(line: bytes) -> bytes:
        if not (proxy.sent and proxy.sent[-1].endswith(b'EXAMINE "INBOX"\r\n')):
            return line
        return re.sub(rb"OK \[UIDVALIDITY \d+", lambda _: b"OK [UIDVALIDITY %d" % next(lives), line)

    proxy.rewrite = lambda line: never_stays(WITHOUT_QRESYNC(line))
    for _ in range(MAX_GENERATIONS):
        await account.sync()
    before = len(proxy.sent)
    account.mailbox.append(b"Subject: filed\r\n\r\nhello\r\n", folder="Archive")
    await account.connection.execute("UPDATE folders SET comparison_due_at = now()")
    await account.sync()

    assert b'EXAMINE "INBOX"' not in b"".join(proxy.sent[before:])
    assert await account.message_ids("INBOX") == ids
    assert len(await account.message_ids("Archive")) == 1

    await account.connection.execute(
        "UPDATE folders SET generation_at = generation_at - interval '1 day'"
    )
    await account.sync()
    assert await account.connection.fetchval("SELECT max(generations) FROM folders") == 6


async def test_a_server_without_uidvalidity_and_uidnext_is_synced_all_the_same(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    proxy.rewrite = lambda line: WITHOUT_QRESYNC(
        b"" if re.search(rb"OK \[(UIDVALIDITY|UIDNEXT)", line) else line
    )
    await account.sync()
    account.mailbox.append(b"Subject: one more\r\n\r\nhello\r\n")

    await account.sync()

    await account.assert_equal()


async def test_a_uidnext_that_goes_back_loses_and_doubles_nothing(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    await account.sync()
    ids = await account.message_ids()
    proxy.rewrite = replacing(rb"UIDNEXT \d+", b"UIDNEXT 5")

    await account.sync()

    await account.assert_equal()
    assert await account.message_ids() == ids


async def test_a_new_generation_that_is_shown_empty_deletes_nothing(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    """UIDVALIDITY changed and nothing is listed: the old rows wait for a second, honest look."""
    await account.sync()
    ids = await account.message_ids()
    emptied = Once(rb"^\* 80 EXISTS", b"* 0 EXISTS", times=2)

    def rewrite(line: bytes) -> bytes:
        return emptied(re.sub(rb"UIDVALIDITY \d+", b"UIDVALIDITY 5", line))

    proxy.rewrite = rewrite

    counts = await account.sync()

    assert emptied.left == 0
    await account.assert_equal()
    assert await account.message_ids() == ids
    assert (counts.deleted, counts.fetched_bytes) == (0, 0)


async def test_a_new_generation_goes_on_where_a_cut_session_stopped(
    account: SyncedAccount, proxy: RewritingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many messages wait to be recognised, no session begins them all over again."""
    monkeypatch.setattr(session, "WINDOW", 10)
    await account.sync()
    ids = await account.message_ids()
    looks = 0

    def cut(line: bytes) -> bytes | None:
        nonlocal looks
        looks += b"HEADER.FIELDS" in line
        return None if looks and looks % 25 == 0 and b"HEADER.FIELDS" in line else line

    proxy.rewrite = lambda line: cut(re.sub(rb"UIDVALIDITY \d+", b"UIDVALIDITY 5", line))
    for _ in range(6):
        try:
            counts = await account.sync()
        except Unreachable:
            continue
        break

    await account.assert_equal()
    assert await account.message_ids() == ids
    assert counts.fetched_bytes == 0
    assert looks < 2 * MESSAGES


async def test_of_messages_that_look_the_same_each_keeps_its_own_text(
    account: SyncedAccount, proxy: RewritingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Message-ID, size and date do not prove a message once two of them share all three."""
    monkeypatch.setattr(session, "WINDOW", 1)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    stored, impostor = (b"Message-ID: <x@x>\r\n\r\n" + text for text in (b"one", b"two"))
    account.mailbox.create("Twins")
    account.mailbox.append(stored, folder="Twins", received_at=at)
    await account.sync()
    account.mailbox.delete("Twins")
    account.mailbox.create("Twins")
    account.mailbox.append(stored, folder="Twins", received_at=at)
    account.mailbox.append(impostor, folder="Twins", received_at=at)

    await account.sync()

    await account.assert_equal()
