"""The folders of an account: LIST and STATUS answers -> `ListedFolder`, with what each is for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from emailsync.domain.folders import FolderRole
from emailsync.domain.imap_plan import MailboxStatus
from emailsync.domain.uid_set import MAX_UID
from emailsync.providers.imap.answers import MAX_MODSEQ, Mailbox, Status
from emailsync.providers.imap.mailbox_names import decode_name

MAX_UID_VALIDITY: Final = 2**63 - 1
"""RFC 9051 section 9 has 32 bits for it. It is only compared, so what can be stored will do."""
_SPECIAL_USE: Final[Mapping[str, FolderRole]] = {  # RFC 6154 section 2
    "\\all": FolderRole.ALL,
    "\\archive": FolderRole.ARCHIVE,
    "\\drafts": FolderRole.DRAFTS,
    "\\junk": FolderRole.JUNK,
    "\\sent": FolderRole.SENT,
    "\\trash": FolderRole.TRASH,
}
_USUAL_NAMES: Final[Mapping[str, FolderRole]] = {
    "sent": FolderRole.SENT,
    "sent items": FolderRole.SENT,
    "sent mail": FolderRole.SENT,
    "sent messages": FolderRole.SENT,
    "drafts": FolderRole.DRAFTS,
    "draft": FolderRole.DRAFTS,
    "trash": FolderRole.TRASH,
    "bin": FolderRole.TRASH,
    "deleted items": FolderRole.TRASH,
    "deleted messages": FolderRole.TRASH,
    "junk": FolderRole.JUNK,
    "junk e-mail": FolderRole.JUNK,
    "junk email": FolderRole.JUNK,
    "spam": FolderRole.JUNK,
    "bulk mail": FolderRole.JUNK,
    "archive": FolderRole.ARCHIVE,
    "archives": FolderRole.ARCHIVE,
}
_UNSELECTABLE: Final = frozenset({"\\noselect", "\\nonexistent"})
_UNSENDABLE: Final = re.compile(rb"[\x00\r\n]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFolder:
    """A folder as the server lists it."""

    remote_id: str  #: the name as on the wire, latin-1 decoded
    path: str  #: for people
    flags: frozenset[str]  #: lower case, with the backslash
    delimiter: str | None
    selectable: bool
    role: FolderRole | None
    status: MailboxStatus | None  #: None: the server gave none along with the list


def mailbox_status(items: Mapping[str, int]) -> MailboxStatus:
    """Read the items of STATUS; zeros and the impossible are dropped, for they mean nothing."""
    return MailboxStatus(
        uid_validity=_up_to(MAX_UID_VALIDITY, items.get("UIDVALIDITY")),
        uid_next=_up_to(MAX_UID, items.get("UIDNEXT")),
        messages=items.get("MESSAGES"),
        highest_modseq=_up_to(MAX_MODSEQ, items.get("HIGHESTMODSEQ")),
    )


def _up_to(limit: int, number: int | None) -> int | None:
    return number if number is not None and 0 < number <= limit else None


def listed_folders(
    mailboxes: Iterable[Mailbox], statuses: Iterable[Status]
) -> Sequence[ListedFolder]:
    """Join the lines of LIST with those of STATUS, in the server's order, each name once."""
    status_of = {_key(status.name): mailbox_status(status.items) for status in statuses}
    unique = {_key(mailbox.name): mailbox for mailbox in mailboxes if mailbox.name}
    roles = _roles(list(unique.values()))
    return [
        ListedFolder(
            remote_id=mailbox.name.decode("latin-1"),
            path=decode_name(mailbox.name),
            flags=mailbox.flags,
            delimiter=mailbox.delimiter,
            # A name with a line break or a NUL cannot be sent back: see wire_strings.py.
            selectable=not (mailbox.flags & _UNSELECTABLE or _UNSENDABLE.search(mailbox.name)),
            role=roles.get(key),
            status=status_of.get(key),
        )
        for key, mailbox in unique.items()
    ]


def _key(name: bytes) -> bytes:
    """INBOX is the one name without case (RFC 9051 section 5.1)."""
    return b"INBOX" if name.upper() == b"INBOX" else name


def _roles(mailboxes: Sequence[Mailbox]) -> Mapping[bytes, FolderRole]:
    """Return the roles: by the server's word, or if it has none by well-known English names."""
    roles = {
        _key(mailbox.name): role
        for mailbox in mailboxes
        for flag, role in _SPECIAL_USE.items()
        if flag in mailbox.flags
    }
    if not roles:
        roles = _guessed_roles(mailboxes)
    return {**roles, b"INBOX": FolderRole.INBOX}


def _guessed_roles(mailboxes: Sequence[Mailbox]) -> dict[bytes, FolderRole]:
    """Only at the top or right below the inbox, and the first folder of a name wins."""
    roles: dict[bytes, FolderRole] = {}
    for mailbox in mailboxes:
        path = decode_name(mailbox.name).lower()
        if mailbox.delimiter:
            path = path.removeprefix(f"inbox{mailbox.delimiter}")
        role = _USUAL_NAMES.get(path)
        if role is not None and role not in roles.values():
            roles[mailbox.name] = role
    return roles
