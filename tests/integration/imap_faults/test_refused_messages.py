"""A message that the server will not give is set aside alone, and asked for again."""

import re

import pytest

from dovecot_mailbox import DovecotMailbox
from emailsync.domain.errors import ServerRefused
from faulty_imap import MESSAGES, replacing
from rewriting_proxy import RewritingProxy
from sync_harness import SyncedAccount


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
