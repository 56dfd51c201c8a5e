"""A sync that the server cuts short, wholly or in one folder, costs no more than was under way."""

import re

import pytest

from emailsync.domain.errors import ServerRefused, Unreachable
from faulty_imap import MESSAGES
from rewriting_proxy import RewritingProxy
from sync_harness import SyncedAccount


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
