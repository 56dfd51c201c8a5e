import pytest

from emailsync.domain.folders import FolderRole
from emailsync.domain.imap_plan import MailboxStatus
from emailsync.providers.imap.answers import Mailbox, Status
from emailsync.providers.imap.listing import listed_folders, mailbox_status


def mailbox(name: bytes, *flags: str, delimiter: str | None = "/") -> Mailbox:
    return Mailbox(frozenset(flags), delimiter, name)


def roles(*mailboxes: Mailbox) -> dict[str, FolderRole]:
    return {each.path: each.role for each in listed_folders(mailboxes, ()) if each.role}


def test_a_folder_keeps_its_raw_name_and_shows_its_decoded_one() -> None:
    (folder,) = listed_folders([mailbox(b"Entw&APw-rfe")], [])

    assert (folder.remote_id, folder.path) == ("Entw&APw-rfe", "Entwürfe")


def test_the_counters_join_the_name_they_are_about() -> None:
    folders = listed_folders(
        [mailbox(b"inbox"), mailbox(b"a")],
        [Status(b"INBOX", {"MESSAGES": 3}), Status(b"A", {"MESSAGES": 4})],
    )

    assert [folder.status for folder in folders] == [MailboxStatus(messages=3), None]


@pytest.mark.parametrize("flag", ["\\noselect", "\\nonexistent"])
def test_what_cannot_be_opened_is_not_selectable(flag: str) -> None:
    (folder,) = listed_folders([mailbox(b"x", flag)], [])

    assert not folder.selectable


def test_a_name_that_cannot_be_sent_back_is_not_selectable() -> None:
    (folder,) = listed_folders([mailbox(b"a\r\nb")], [])

    assert not folder.selectable


def test_the_servers_roles_win_over_names() -> None:
    assert roles(mailbox(b"Gesendet", "\\sent"), mailbox(b"Sent"), mailbox(b"INBOX")) == {
        "Gesendet": FolderRole.SENT,
        "INBOX": FolderRole.INBOX,
    }


def test_without_any_role_from_the_server_well_known_names_are_taken() -> None:
    assert roles(
        mailbox(b"INBOX", delimiter="."),
        mailbox(b"INBOX.Sent", delimiter="."),
        mailbox(b"Sent Items", delimiter="."),
        mailbox(b"Deleted Messages", delimiter="."),
        mailbox(b"Work.Drafts", delimiter="."),
        mailbox(b"SPAM", delimiter="."),
    ) == {
        "INBOX": FolderRole.INBOX,
        "INBOX.Sent": FolderRole.SENT,
        "Deleted Messages": FolderRole.TRASH,
        "SPAM": FolderRole.JUNK,
    }


def test_a_name_listed_twice_is_one_folder_and_an_empty_one_is_none() -> None:
    folders = listed_folders([mailbox(b"a"), mailbox(b"a"), mailbox(b"")], [])

    assert [folder.path for folder in folders] == ["a"]


def test_counters_of_zero_are_no_bookmarks() -> None:
    status = mailbox_status({"UIDVALIDITY": 0, "UIDNEXT": 0, "MESSAGES": 0, "HIGHESTMODSEQ": 2**63})

    assert status == MailboxStatus(messages=0)
