"""Where an incremental sync stands, per folder.

A cursor is the provider's own bookmark: we store it, compare it, hand it back. We never invent
one. Losing it costs a full resync; trusting a dead one loses mail.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NewType

FolderId = NewType("FolderId", int)


class FolderRole(StrEnum):
    """What a folder is for (RFC 6154 special use, Gmail system labels, Graph well-known names)."""

    INBOX = "inbox"
    SENT = "sent"
    DRAFTS = "drafts"
    TRASH = "trash"
    JUNK = "junk"
    ARCHIVE = "archive"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderCursor:
    """Everything a provider may want to remember of a folder; each uses its own part.

    IMAP: UIDs mean nothing under another UIDVALIDITY (RFC 9051 section 2.3.1.1), so its four
    values are replaced together.
    """

    uid_validity: int | None = None  #: 1..2**32-1
    uid_next: int | None = None  #: UIDs from here on have not been looked at
    highest_modseq: int | None = None  #: 63-bit (RFC 7162); None: no CONDSTORE
    backfill_before: int | None = None  #: UIDs below are still to be fetched; None: all are there
    delta_link: str | None = None  #: Graph
    resume_link: str | None = None  #: Graph nextLink of a round under way
    compare_link: str | None = None  #: Graph nextLink of a full comparison under way


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCursor:
    """The account-level bookmark; each provider uses its own part.

    Stored field by field: None leaves a field as it is, "" removes it.
    """

    last_sync_uid: str | None = None  #: IMAP: "UIDVALIDITY:UIDNEXT" of the inbox, for people
    last_history_id: str | None = None  #: Gmail
    last_delta_link: str | None = None  #: Graph folder hierarchy
    resume_token: str | None = None  #: a listing under way


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFolder:
    """A folder as the provider lists it."""

    remote_id: str  #: IMAP: the raw name, latin-1 decoded; elsewhere the provider's id
    path: str  #: decoded, with the server's separator
    role: FolderRole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFolder:
    """A folder as the store remembers it."""

    id: FolderId
    remote_id: str
    path: str
    role: FolderRole | None
    cursor: FolderCursor
    stored_count: int  #: live placements at the last check
    remote_count: int | None  #: the server's count at the last check; None: never checked
    missing_count: int  #: listings in a row that did not show this folder
    check_due: bool = False  #: mail came or went since the counts were compared
    generations: int = 0  #: IMAP: how often it was made anew lately
    since_generation: timedelta | None = None  #: how long ago the last time was; None: never
    quarantine_due: bool = False  #: messages that could not be fetched are to be tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRename:
    """The folder `folder_id` is now called `remote`; its messages and its cursor stay."""

    folder_id: FolderId
    remote: RemoteFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderChanges:
    """What one listing changes. Everything not named stays as it is."""

    seen: tuple[RemoteFolder, ...] = ()  #: created when unknown, else path and role updated
    renamed: tuple[FolderRename, ...] = ()  #: applied before `seen`
    missing: tuple[FolderId, ...] = ()  #: not in the listing, absence not proven: only counted
    gone: tuple[FolderId, ...] = ()  #: proven absent: its placements are removed with it
