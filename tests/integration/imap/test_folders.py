"""Listing, counting and opening folders on servers that refuse, forget or know less."""

import pytest

from emailsync.domain.errors import (
    FolderGone,
    ServerRefused,
    Throttled,
    Unreachable,
)
from emailsync.domain.folders import FolderRole
from emailsync.domain.imap_plan import MailboxStatus
from emailsync.domain.mail import Flags
from emailsync.domain.uid_set import UidSet
from emailsync.providers.imap import connection as connection_module
from emailsync.providers.imap import protocol
from emailsync.providers.imap.fetching import FetchedFlags
from emailsync.providers.imap.protocol import WireLimits
from imap_server import Dialogue, after_login, in_folder, scripted_server

ALL = "IMAP4rev1 ENABLE CONDSTORE QRESYNC ESEARCH LIST-STATUS SPECIAL-USE LITERAL+"


async def test_folders_come_with_their_counters_in_one_round_trip() -> None:
    script = after_login(
        r"""
        C: LIST "" "*" RETURN (SPECIAL-USE STATUS (UIDVALIDITY UIDNEXT MESSAGES HIGHESTMODSEQ))
        S: * LIST (\HasNoChildren) "." INBOX
        S: * STATUS INBOX (UIDVALIDITY 1 UIDNEXT 5 MESSAGES 4 HIGHESTMODSEQ 9)
        S: * LIST (\Sent) "." "Gesendet"
        S: * LIST (\Noselect) "." "Gruppe"
        S: {tag} OK done
        """,
        ALL,
    )
    async with scripted_server(script) as server, server.connect() as connection:
        inbox, sent, group = await connection.list_folders()

        assert connection.delimiter == "."
    assert inbox.status == MailboxStatus(uid_validity=1, uid_next=5, messages=4, highest_modseq=9)
    assert (inbox.role, sent.role) == (FolderRole.INBOX, FolderRole.SENT)
    assert (sent.status, group.selectable) == (None, False)


async def test_a_server_that_refuses_the_long_list_is_asked_for_the_short_one_from_then_on() -> (
    None
):
    script = after_login(
        """
        C: LIST "" "*" RETURN (STATUS (UIDVALIDITY UIDNEXT MESSAGES))
        S: {tag} BAD what
        C: LIST "" "*"
        S: * LIST () "/" INBOX
        S: {tag} OK done
        C: LIST "" "*"
        S: * LIST () "/" INBOX
        S: {tag} OK done
        """,
        "IMAP4rev1 LIST-STATUS",
    )
    async with scripted_server(script) as server, server.connect() as connection:
        assert len(await connection.list_folders()) == 1
        assert len(await connection.list_folders()) == 1


async def test_a_list_that_fails_is_no_empty_list() -> None:
    script = after_login("""
        C: LIST "" "*"
        S: * LIST () "/" INBOX
        S: {tag} NO backend down
    """)
    async with scripted_server(script) as server, server.connect() as connection:
        with pytest.raises(Unreachable):
            await connection.list_folders()


async def test_a_raw_8_bit_name_is_sent_back_byte_for_byte() -> None:
    async def script(server: Dialogue) -> None:
        await server.log_in("IMAP4rev1 LITERAL+")
        await server.play("""
            C: LIST "" "*"
            S: * LIST () "/" "Entw\xfcrfe"
            S: {tag} OK done
            C: STATUS {8+}
        """)
        tag = server.tag
        assert await server.line() == "Entw\xfcrfe (UIDVALIDITY UIDNEXT MESSAGES)"
        await server.send(f"{tag} OK done")

    async with scripted_server(script) as server, server.connect() as connection:
        (folder,) = await connection.list_folders()
        assert folder.path == "Entwürfe"
        assert await connection.status(folder.remote_id) == MailboxStatus()


@pytest.mark.parametrize(
    ("answer", "decision"),
    [
        ("NO [NONEXISTENT] no", FolderGone),
        ("NO Mailbox doesn't exist: gone", FolderGone),
        ("NO [INUSE] later", ServerRefused),
        ("NO permission denied", ServerRefused),
        ("BAD syntax", ServerRefused),
    ],
)
async def test_a_folder_is_gone_only_when_the_server_says_so(
    answer: str, decision: type[Exception]
) -> None:
    script = after_login(f"""
        C: STATUS "gone" (UIDVALIDITY UIDNEXT MESSAGES)
        S: {{tag}} {answer}
        C: EXAMINE "gone"
        S: {{tag}} {answer}
    """)
    async with scripted_server(script) as server, server.connect() as connection:
        with pytest.raises(decision):
            await connection.status("gone")
        with pytest.raises(decision):
            await connection.examine("gone")


async def test_qresync_tells_what_changed_and_what_vanished() -> None:
    script = after_login(
        r"""
        C: EXAMINE "INBOX" (QRESYNC (7 90))
        S: * OK [CLOSED] the old one
        S: * 4 EXISTS
        S: * OK [UIDVALIDITY 7] valid
        S: * OK [UIDNEXT 20] next
        S: * OK [HIGHESTMODSEQ 99] highest
        S: * VANISHED (EARLIER) 1:3,4294967295
        S: * 1 FETCH (UID 5 FLAGS (\Seen) MODSEQ (95))
        S: {tag} OK [READ-ONLY] open
        """,
        ALL,
    )
    async with scripted_server(script) as server, server.connect() as connection:
        examined = await connection.examine("INBOX", (7, 90))

    assert (examined.uid_validity, examined.uid_next, examined.exists) == (7, 20, 4)
    assert examined.highest_modseq == 99
    assert examined.vanished == UidSet.parse("1:3,4294967295")
    assert examined.changed == [FetchedFlags(5, Flags(is_read=True), 95)]


async def test_what_is_said_before_the_old_folder_is_closed_is_about_the_old_one() -> None:
    script = after_login(
        """
        C: EXAMINE "INBOX" (CONDSTORE)
        S: * VANISHED 1:3
        S: * OK [HIGHESTMODSEQ 5] old
        S: * OK [CLOSED] left
        S: * 2 EXISTS
        S: {tag} OK open
        """,
        ALL,
    )
    async with scripted_server(script) as server, server.connect() as connection:
        examined = await connection.examine("INBOX")

    assert (examined.exists, examined.highest_modseq, examined.vanished) == (2, None, None)


@pytest.mark.parametrize("refusal", ["BAD parameters", "NO CONDSTORE is not for you"])
async def test_a_server_that_offers_condstore_and_refuses_it_is_not_asked_twice(
    refusal: str,
) -> None:
    script = after_login(
        f"""
        C: EXAMINE "INBOX" (CONDSTORE)
        S: {{tag}} {refusal}
        C: EXAMINE "INBOX"
        S: * 2 EXISTS
        S: * OK [HIGHESTMODSEQ 9] but
        S: {{tag}} OK open
        C: EXAMINE "Sent"
        S: {{tag}} OK open
        """,
        "IMAP4rev1 CONDSTORE",
    )
    async with scripted_server(script) as server, server.connect() as connection:
        examined = await connection.examine("INBOX")
        await connection.examine("Sent")

        assert (examined.exists, examined.highest_modseq) == (2, None)
        assert not connection.has_condstore


async def test_a_server_that_is_busy_is_not_taken_for_one_without_condstore() -> None:
    script = after_login(
        """
        C: EXAMINE "INBOX" (CONDSTORE)
        S: {tag} NO [THROTTLED] slow down
        """,
        "IMAP4rev1 CONDSTORE",
    )
    async with scripted_server(script) as server, server.connect() as connection:
        with pytest.raises(Throttled):
            await connection.examine("INBOX")

        assert connection.has_condstore


@pytest.mark.parametrize(
    "code", ["NOMODSEQ", "HIGHESTMODSEQ 0", "HIGHESTMODSEQ 18446744073709551615"]
)
async def test_a_folder_without_a_usable_modseq_has_none(code: str) -> None:
    script = after_login(
        f"""
        C: EXAMINE "INBOX" (CONDSTORE)
        S: * 2 EXISTS
        S: * OK [UIDVALIDITY 0] odd
        S: * OK [{code}] no
        S: {{tag}} OK open
        """,
        ALL,
    )
    async with scripted_server(script) as server, server.connect() as connection:
        examined = await connection.examine("INBOX")

    assert (examined.uid_validity, examined.uid_next, examined.highest_modseq) == (None,) * 3


async def test_the_count_follows_what_the_server_says_meanwhile() -> None:
    script = in_folder("""
        C: NOOP
        S: * 12 EXISTS
        S: * 3 EXPUNGE
        S: * VANISHED 7,9:10
        S: * VANISHED (EARLIER) 1:5
        S: {tag} OK done
    """)
    async with scripted_server(script) as server, server.connect() as connection:
        await connection.examine("INBOX")
        await connection.noop()

        assert connection.exists == 8


async def test_a_million_changes_at_once_are_read_as_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everything was marked as read: one answer to EXAMINE holds the flags of the whole folder."""
    monkeypatch.setattr(protocol, "ANSWER_SLACK_BYTES", 8_000_000)
    limits = WireLimits(max_literal_bytes=1_000)
    changes = 60_000

    async def script(server: Dialogue) -> None:
        await server.log_in(ALL)
        await server.command()
        await server.send(f"* {changes} EXISTS", "* OK [UIDVALIDITY 7] valid")
        await server.send(
            *(f"* {n} FETCH (UID {n} MODSEQ (9) FLAGS (\\Seen))" for n in range(1, changes + 1))
        )
        await server.send("{tag} OK open")

    async with scripted_server(script) as server, server.connect(limits=limits) as connection:
        examined = await connection.examine("INBOX", (7, 1))

    assert [change.uid for change in examined.changed] == list(range(1, changes + 1))


async def test_more_changes_than_messages_are_not_listened_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "MAX_UNEXPECTED", 1_000)

    async def script(server: Dialogue) -> None:
        await server.log_in(ALL)
        await server.command()
        await server.send("* 3 EXISTS", "* OK [UIDVALIDITY 7] valid")
        while True:
            await server.send(*["* 1 FETCH (UID 1 MODSEQ (9) FLAGS ())"] * 100)

    async with scripted_server(script) as server, server.connect() as connection:
        with pytest.raises(ServerRefused, match="more changes than it has messages"):
            await connection.examine("INBOX", (7, 1))
