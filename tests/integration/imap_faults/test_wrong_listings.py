"""Servers that show less than there is: nothing is deleted on their word alone, nothing hidden."""

import re
from collections.abc import Callable

import pytest

from faulty_imap import MESSAGES, WITHOUT_QRESYNC, Once, dropping
from rewriting_proxy import RewritingProxy
from sync_harness import SyncedAccount


@pytest.mark.parametrize("hidden", [rb"^\* SEARCH [\d ]*", rb"^\* SEARCH( \d+){10}"])
async def test_an_empty_or_partial_search_result_deletes_nothing(
    account: SyncedAccount, proxy: RewritingProxy, hidden: bytes
) -> None:
    proxy.rewrite = WITHOUT_QRESYNC
    await account.sync()
    proxy.rewrite = lambda line: WITHOUT_QRESYNC(re.sub(hidden, b"* SEARCH", line))

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
