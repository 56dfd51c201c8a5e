"""The connection on a real server, by all that it offers and by the little that it may."""

import ssl
from contextlib import AbstractAsyncContextManager

import pytest

from dovecot import PASSWORD, DovecotServer
from dovecot_mailbox import DovecotMailbox
from emailsync.crypto import Secret
from emailsync.domain.errors import AuthRefused, FolderGone, Unreachable
from emailsync.domain.folders import FolderRole
from emailsync.domain.mail import Flags
from emailsync.domain.uid_set import UidSet
from emailsync.providers.imap.account_settings import Security
from emailsync.providers.imap.connection import ImapConnection, connect
from emailsync.providers.imap.dialling import ImapTarget
from emailsync.providers.imap.login import PasswordLogin
from emailsync.providers.imap.protocol import WireLimits
from emailsync.providers.network import tls_context

pytestmark = pytest.mark.usefixtures("loop_guard")

RAW = b"Message-ID: <%d@example.test>\r\nSubject: hello :( 2 * 3 {5}\r\n\r\nbody %d\r\n"


@pytest.fixture(scope="module")
def trusting(dovecot: DovecotServer) -> ssl.SSLContext:
    return tls_context(dovecot.ca_file)


def target(
    dovecot: DovecotServer,
    trusting: ssl.SSLContext,
    address: str | None = None,
    security: Security = Security.NONE,
) -> ImapTarget:
    return ImapTarget(
        host="localhost",
        port=dovecot.tls_port if security is Security.TLS else dovecot.port,
        addresses=(address or dovecot.host,),
        security=security,
        tls_context=trusting,
    )


def logged_in(
    to: ImapTarget, mailbox: DovecotMailbox
) -> AbstractAsyncContextManager[ImapConnection]:
    return connect(to, PasswordLogin(mailbox.user, Secret(PASSWORD)), WireLimits())


@pytest.mark.parametrize("security", list(Security))
async def test_every_kind_of_security_leads_in(
    security: Security, dovecot: DovecotServer, trusting: ssl.SSLContext, mailbox: DovecotMailbox
) -> None:
    async with logged_in(target(dovecot, trusting, security=security), mailbox) as connection:
        folders = await connection.list_folders()

    assert {folder.role for folder in folders} >= {FolderRole.INBOX, FolderRole.SENT}


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "127.0.0.3"])
async def test_messages_come_byte_for_byte(
    address: str, dovecot: DovecotServer, trusting: ssl.SSLContext, mailbox: DovecotMailbox
) -> None:
    raws = {mailbox.append(RAW % (n, n)): RAW % (n, n) for n in range(1, 61)}

    async with logged_in(target(dovecot, trusting, address), mailbox) as connection:
        await connection.examine("INBOX")
        uids = UidSet.of(await connection.search_uids())
        low, high = uids.halves()
        fetches = [connection.start_bodies(half) for half in (low, high)]
        contents = [(await fetch.collect()).contents for fetch in fetches]
        headers = await connection.start_bodies(low, headers_only=True).collect()
        overviews = await connection.start_overview(uids).collect()
        prints = [seen async for seen in connection.fetch_fingerprints(uids)]

    assert contents[0] | contents[1] == raws
    assert [contents[0].keys(), contents[1].keys()] == [
        set(range(1, 31)),
        set(range(31, 61)),
    ]
    assert headers.contents[1] == (RAW % (1, 1)).partition(b"body")[0]
    assert {seen.uid: seen.size_bytes for seen in overviews} == {
        uid: len(raw) for uid, raw in raws.items()
    }
    assert [seen.header_message_id for seen in prints] == [f"{n}@example.test" for n in raws]


@pytest.mark.parametrize(
    ("address", "abilities"),
    [("127.0.0.1", "CONDSTORE QRESYNC"), ("127.0.0.2", "CONDSTORE"), ("127.0.0.3", "")],
)
async def test_changes_are_told_as_far_as_the_server_admits_to_know_them(
    address: str,
    abilities: str,
    dovecot: DovecotServer,
    trusting: ssl.SSLContext,
    mailbox: DovecotMailbox,
) -> None:
    condstore, qresync = "CONDSTORE" in abilities, "QRESYNC" in abilities
    for n in range(1, 6):
        mailbox.append(RAW % (n, n))
    async with logged_in(target(dovecot, trusting, address), mailbox) as connection:
        before = await connection.examine("INBOX")
        assert (connection.has_condstore, connection.has_qresync) == (condstore, qresync)
        assert (before.highest_modseq is not None) == condstore

        mailbox.add_flags([2], "\\Seen", "later")
        mailbox.expunge([4])
        known = before.uid_validity and before.highest_modseq
        after = await connection.examine("INBOX", (before.uid_validity or 0, known or 0))
        modseq = before.highest_modseq
        everything = UidSet([(1, 5)])
        flags = [
            item async for item in connection.fetch_flags(everything, modseq if condstore else None)
        ]

    assert after.exists == 4
    assert after.vanished == (UidSet.of([4]) if qresync else None)
    assert [change.uid for change in after.changed] == ([2] if qresync else [])
    changed = {item.uid: item.flags for item in flags}
    assert changed[2] == Flags(is_read=True, keywords=("later",))
    assert changed.keys() == ({2} if condstore else {1, 2, 3, 5})


async def test_a_folder_that_is_not_there_is_gone(
    dovecot: DovecotServer, trusting: ssl.SSLContext, mailbox: DovecotMailbox
) -> None:
    async with logged_in(target(dovecot, trusting), mailbox) as connection:
        with pytest.raises(FolderGone):
            await connection.status("nowhere")
        with pytest.raises(FolderGone):
            await connection.examine("nowhere")


async def test_odd_names_go_there_and_back(
    dovecot: DovecotServer, trusting: ssl.SSLContext, mailbox: DovecotMailbox
) -> None:
    names = {'say "\\o"', "Entwürfe & mehr", "日本語", "2 * 3"}
    for name in names:
        mailbox.create(name)

    async with logged_in(target(dovecot, trusting), mailbox) as connection:
        listed = {folder.path: folder for folder in await connection.list_folders()}
        for name in names:
            assert (await connection.examine(listed[name].remote_id)).exists == 0
            assert (await connection.status(listed[name].remote_id)).messages == 0


@pytest.mark.parametrize(
    ("user", "decision"), [("denied-x", AuthRefused), ("unavailable-x", Unreachable)]
)
async def test_a_refused_login_is_told_from_a_server_that_cannot_tell(
    user: str,
    decision: type[Exception],
    dovecot: DovecotServer,
    trusting: ssl.SSLContext,
) -> None:
    with pytest.raises(decision):
        async with logged_in(target(dovecot, trusting), dovecot.mailbox(user)):
            pass
