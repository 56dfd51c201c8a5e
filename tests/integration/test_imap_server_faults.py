"""Servers that answer wrongly: nothing is lost, nothing is deleted on their word alone."""

import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dovecot import DovecotServer
from dovecot_mailbox import DovecotMailbox
from emailsync.domain.errors import ServerRefused, Unreachable
from emailsync.domain.imap_plan import MAX_GENERATIONS
from emailsync.emulators.mail_generator import generate
from emailsync.providers.imap import session
from rewriting_proxy import RewritingProxy, rewriting_proxy
from servers import LOOPBACK
from sync_harness import SyncedAccount, synced_account

MESSAGES = 80


@pytest.fixture
async def proxy(dovecot: DovecotServer) -> AsyncIterator[RewritingProxy]:
    """A proxy in front of Dovecot that changes nothing yet."""
    async with rewriting_proxy(dovecot.port) as proxy:
        yield proxy


@pytest.fixture
async def account(
    proxy: RewritingProxy, mailbox: DovecotMailbox, database_url: str, tmp_path: Path
) -> AsyncIterator[SyncedAccount]:
    """An account behind the proxy, with eighty messages in the inbox."""
    mailbox.deliver(generate(5, n, recipient=mailbox.user) for n in range(MESSAGES))
    async with synced_account(
        database_url, mailbox, host=LOOPBACK, port=proxy.port, key_file=tmp_path / "keys"
    ) as account:
        yield account


def replacing(pattern: bytes, replacement: bytes) -> Callable[[bytes], bytes]:
    return lambda line: re.sub(pattern, replacement, line)


def dropping(pattern: bytes) -> Callable[[bytes], bytes]:
    return lambda line: b"" if re.search(pattern, line) else line


WITHOUT_QRESYNC = replacing(rb" (QRESYNC|CONDSTORE|LIST-STATUS|ESEARCH)\b", b"")


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


async def test_an_empty_search_result_deletes_nothing(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    proxy.rewrite = WITHOUT_QRESYNC
    await account.sync()
    proxy.rewrite = lambda line: WITHOUT_QRESYNC(
        re.sub(rb"^\* SEARCH .*\r\n", b"* SEARCH\r\n", line)
    )

    await account.sync()

    assert await account.count("messages WHERE deleted_at IS NULL") == MESSAGES


async def test_a_partial_search_result_deletes_nothing(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    proxy.rewrite = WITHOUT_QRESYNC
    await account.sync()
    proxy.rewrite = lambda line: WITHOUT_QRESYNC(
        re.sub(rb"^\* SEARCH( \d+){10}", b"* SEARCH", line)
    )

    await account.sync()

    assert await account.count("messages WHERE deleted_at IS NULL") == MESSAGES


async def test_a_bogus_vanished_of_everything_deletes_nothing(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    await account.sync()
    account.mailbox.append(b"Subject: makes the folder change\r\n\r\nhello\r\n")

    def bogus(line: bytes) -> bytes:
        told = b"* VANISHED (EARLIER) 1:4294967295\r\n"
        return told + line if b"OK [HIGHESTMODSEQ" in line else line

    proxy.rewrite = bogus

    await account.sync()

    await account.assert_equal()


async def test_a_listing_of_the_inbox_alone_deletes_no_folder(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    """A proxy whose back end is away lists only INBOX."""
    account.mailbox.append(b"Subject: filed\r\n\r\nhello\r\n", folder="Archive")
    await account.sync()
    before = await account.row_versions()
    proxy.rewrite = dropping(rb"^\* (LIST|STATUS) .*(Archive|Sent|Drafts|Junk|Trash)")

    await account.sync()

    assert await account.count("messages WHERE deleted_at IS NULL") == MESSAGES + 1
    assert (await account.row_versions())["messages"] == before["messages"]


async def test_a_message_that_the_server_refuses_is_quarantined_alone(
    account: SyncedAccount, proxy: RewritingProxy, mailbox: DovecotMailbox
) -> None:
    refused = mailbox.uids()[40]
    refusing = RefusingOne(refused)
    proxy.rewrite = refusing

    await account.sync()

    assert await account.count("messages") == MESSAGES - 1
    [row] = await account.connection.fetch("SELECT uid, stage, reason FROM quarantine")
    assert (row["uid"], row["stage"]) == (refused, "fetch")
    [folder] = await account.connection.fetch(
        "SELECT stored_count, remote_count FROM folders WHERE path = 'INBOX'"
    )
    assert folder["stored_count"] == folder["remote_count"] == MESSAGES


async def test_a_message_far_larger_than_announced_is_quarantined_alone(
    account: SyncedAccount, proxy: RewritingProxy, mailbox: DovecotMailbox
) -> None:
    """Its literal ends the connection; asked for again, it would end every one that follows."""
    endless = mailbox.uids()[40]
    proxy.rewrite = replacing(
        rb"^(\* \d+ FETCH \(UID %d BODY\[\]) \{\d+\}" % endless, rb"\1 {9999999999}"
    )
    with pytest.raises(ServerRefused, match="a literal of more than"):
        await account.sync()

    await account.sync()

    assert await account.count("messages") == MESSAGES - 1
    assert await account.connection.fetchval("SELECT uid FROM quarantine") == endless


async def test_a_quarantined_message_is_asked_for_again_after_a_day(
    account: SyncedAccount, proxy: RewritingProxy, mailbox: DovecotMailbox
) -> None:
    """A server whose trouble is over gives up what it refused, though nothing else changed."""
    proxy.rewrite = RefusingOne(mailbox.uids()[40])
    await account.sync()
    proxy.rewrite = lambda line: line
    await account.sync()
    assert await account.count("messages") == MESSAGES - 1
    await account.connection.execute(
        "UPDATE quarantine SET last_seen_at = last_seen_at - interval '25 hours'"
    )

    await account.sync()

    await account.assert_equal()
    before = await account.row_versions()
    await account.sync()
    assert await account.row_versions() == before


class RefusingOne:
    """Answers NO to any body FETCH that delivered this UID, and keeps its lines back."""

    def __init__(self, uid: int) -> None:
        self._body = re.compile(rb"^\* \d+ FETCH \(UID %d BODY\[\] \{(\d+)\}" % uid)
        self._missing = 0
        self._spoilt = False

    def __call__(self, line: bytes) -> bytes:
        if self._missing > 0:
            self._missing -= len(line)
            return b""
        if found := self._body.match(line):
            self._missing = int(found[1]) + len(b")\r\n")
            self._spoilt = True
            return b""
        if self._spoilt and (tagged := re.match(rb"^(\S+) OK .*Fetch completed", line)):
            self._spoilt = False
            return tagged[1] + b" NO [SERVERBUG] cannot read this message\r\n"
        return line


async def test_a_folder_that_cannot_be_opened_leaves_the_others_alone(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    account.mailbox.append(b"Subject: filed\r\n\r\nhello\r\n", folder="Archive")
    examined = {"Archive": False}

    def refuse_archive(line: bytes) -> bytes:
        last = proxy.sent[-1] if proxy.sent else b""
        if b"EXAMINE" in last and b"Archive" in last:
            tag = last.split(b" ")[0]
            if line.startswith(tag):
                examined["Archive"] = True
                return tag + b" NO [SERVERBUG] mailbox is damaged\r\n"
            return b""
        return line

    proxy.rewrite = refuse_archive

    with pytest.raises(ServerRefused, match="Archive"):
        await account.sync()

    assert examined["Archive"]
    assert await account.count("messages WHERE deleted_at IS NULL") == MESSAGES


async def test_a_folder_deleted_during_the_sync_is_left_to_the_next_one(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    account.mailbox.create("Fleeting")
    account.mailbox.append(b"Subject: soon gone\r\n\r\nhello\r\n", folder="Fleeting")

    def delete_before_examine(line: bytes) -> bytes:
        if line.startswith(b"* LIST") and b"Trash" in line:
            account.mailbox.delete("Fleeting")
            proxy.rewrite = lambda line: line
        return line

    proxy.rewrite = delete_before_examine
    await account.sync()

    await account.sync()

    await account.assert_equal()


async def test_a_cut_connection_costs_only_the_page_under_way(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    """Cut after every thirtieth message, a first sync still ends: each run goes on further."""
    seen = 0

    def cut(line: bytes) -> bytes | None:
        nonlocal seen
        if re.match(rb"^\* \d+ FETCH \(UID \d+ BODY\[\]", line):
            seen += 1
            if seen % 60 == 0:
                return None
        return line

    proxy.rewrite = cut
    for _ in range(10):
        try:
            await account.sync()
        except Unreachable:
            continue
        break

    await account.assert_equal()


class Once:
    """Rewrites the first lines that fit, so many of them, and lets the rest be."""

    def __init__(self, pattern: bytes, replacement: bytes, *, times: int = 1) -> None:
        self._pattern, self._replacement = re.compile(pattern), replacement
        self.left = times

    def __call__(self, line: bytes) -> bytes:
        if self.left and self._pattern.search(line):
            self.left -= 1
            return self._pattern.sub(self._replacement, line)
        return line


async def test_a_folder_that_is_shown_empty_once_keeps_its_messages(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    """A broken back end opens an empty folder; the second look opens it anew."""
    proxy.rewrite = WITHOUT_QRESYNC
    await account.sync()
    before = await account.row_versions()
    emptied = Once(rb"^\* 80 EXISTS", b"* 0 EXISTS")
    proxy.rewrite = lambda line: emptied(WITHOUT_QRESYNC(line))

    await account.sync()

    assert emptied.left == 0
    assert (await account.row_versions())["messages"] == before["messages"]


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


async def test_a_modseq_that_goes_back_hides_no_flag(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    """Restored from a backup, a server knows nothing of changes since the modseq that we know."""
    await account.sync()
    account.mailbox.add_flags(account.mailbox.uids()[:3], "\\Flagged")

    def forget(line: bytes) -> bytes:
        line = re.sub(rb"HIGHESTMODSEQ \d+", b"HIGHESTMODSEQ 1", line)
        return b"" if re.search(rb"FETCH \(UID \d+ .*MODSEQ", line) else line

    proxy.rewrite = forget

    await account.sync()

    await account.assert_equal()


def unlisted(proxy: RewritingProxy, name: bytes) -> Callable[[bytes], bytes]:
    """Leave a folder out of listings, but answer for it when it is asked for by name."""
    drop = dropping(rb"^\* (LIST|STATUS) .*" + name)

    def rewrite(line: bytes) -> bytes:
        asked = proxy.sent and proxy.sent[-1].partition(b" ")[2].startswith(b"STATUS")
        return line if asked else drop(line)

    return rewrite


async def test_an_inbox_that_is_not_listed_is_synced_all_the_same(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    proxy.rewrite = unlisted(proxy, b"INBOX")
    await account.sync()
    account.mailbox.append(b"Subject: one more\r\n\r\nhello\r\n")

    await account.sync()

    await account.assert_equal()


async def test_a_folder_that_is_not_listed_but_there_is_followed(
    account: SyncedAccount, proxy: RewritingProxy
) -> None:
    await account.sync()
    proxy.rewrite = unlisted(proxy, b"Archive")
    account.mailbox.append(b"Subject: one more\r\n\r\nhello\r\n", folder="Archive")

    await account.sync()

    await account.assert_equal()
    assert await account.count("folders WHERE missing_count > 0") == 0
