"""What a provider session yields and the store applies: pages of changes.

A page is stored in one transaction together with the cursors it carries, so a cursor never
passes an item that was not stored. A page may arrive twice after a crash: applying it is
idempotent. Messages are named by `remote_id`, the name the provider knows them by *now*: a
Gmail id, an immutable Graph id, or `imap_remote_id` for IMAP, where a move changes it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from emailsync.domain.folders import AccountCursor, FolderCursor, FolderId
from emailsync.domain.mail import Flags, ParsedMessage

MAX_PAGE_MESSAGES: Final = 100  #: about 100 rows a statement is the fastest shape measured
MAX_PAGE_BYTES: Final = 8 * 1024 * 1024  #: bounds what a page holds in memory


def imap_remote_id(folder_id: FolderId, uid_validity: int, uid: int) -> str:
    """Return the name of an IMAP message: unique in an account, and stable until it moves."""
    return f"{folder_id}:{uid_validity}:{uid}"


@dataclass(frozen=True, slots=True)
class Placement:
    """A message lies in a folder; `uid` is None where the provider has no UIDs."""

    folder_id: FolderId
    uid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedMessage:
    """A message as it came from the provider.

    Exactly one of `raw` and `parsed` carries the content, or both where the provider gives both.
    """

    remote_id: str
    placements: tuple[Placement, ...]
    flags: Flags
    received_at: datetime | None  #: INTERNALDATE, internalDate, receivedDateTime; aware
    size_bytes: int  #: of the whole message, also where only its headers were fetched
    raw: bytes | None = None
    parsed: ParsedMessage | None = None
    thread_key: str | None = None  #: the provider's own thread id
    truncated: bool = False  #: over the size limit: `raw` holds the headers only
    adopts: bool = False  #: take over the row of a vanished message with the same raw bytes (IMAP)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyMessage:
    """A fetched message whose content was parsed: what the store writes as a row."""

    fetched: FetchedMessage
    parsed: ParsedMessage
    raw_sha256: bytes | None  #: of the bytes as given; None where there are none


@dataclass(frozen=True, slots=True)
class FlagChange:
    """The flags of a message are now these; unknown messages are ignored."""

    remote_id: str
    flags: Flags


@dataclass(frozen=True, slots=True)
class PlacementChange:
    """The message lies in exactly these folders now; unknown messages are ignored."""

    remote_id: str
    placements: tuple[Placement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """A known row is what the server now calls `remote_id`; nothing is fetched for it."""

    message_id: int  #: `messages.id`
    remote_id: str
    placements: tuple[Placement, ...]
    flags: Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderCheck:
    """The folder is up to date and the server counts `remote_count` messages in it."""

    folder_id: FolderId
    remote_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfetchable:
    """The server will not give this message up; it is quarantined and the cursor goes on.

    A page names it once for each folder that it lies in.
    """

    remote_id: str
    placement: Placement
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageChanges:
    """Everything of a page but its messages. Applied in the order of the fields."""

    new_generation: FolderId | None = None
    """The folder's UIDs mean nothing now: its placements lose them and wait to be adopted."""
    removed: Sequence[str] = ()  #: remote ids that lie in no folder any more: detached
    removed_from: Mapping[FolderId, Sequence[int]] = field(default_factory=dict)  #: UIDs
    left: Mapping[FolderId, Sequence[str]] = field(default_factory=dict)
    """Remote ids that lie in this folder no more; what lies in no other is detached."""
    adoptions: Sequence[Adoption] = ()
    placements: Sequence[PlacementChange] = ()
    retire_generation: FolderId | None = None
    """The new generation is complete: placements that still have no uid are removed."""
    flags: Sequence[FlagChange] = ()
    unfetchable: Sequence[Unfetchable] = ()
    settle: bool = False
    """Messages that lie in no folder now are really deleted: nothing has adopted them."""
    settled: Sequence[str] = ()
    """Those of these that lie in no folder now are really deleted: the provider says so by name."""
    cursors: Mapping[FolderId, FolderCursor] = field(default_factory=dict)
    account_cursor: AccountCursor | None = None
    unchecked: Collection[FolderId] = ()
    """Folders whose counts are to be checked: by the next sync, if this one does not come to it."""
    check: FolderCheck | None = None
    compared: Collection[FolderId] = ()  #: folders of which everything has been compared by now


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedPage:
    """A page as a session yields it; messages are applied after removals and before flags."""

    messages: Sequence[FetchedMessage] = ()
    changes: PageChanges = field(default_factory=PageChanges)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyPage:
    """The same page with every message parsed: what the store applies."""

    messages: Sequence[ReadyMessage] = ()
    changes: PageChanges = field(default_factory=PageChanges)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResult:
    """What applying a page did; all zero when it changed nothing."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    quarantined: int = 0
    stored_count: int | None = None  #: of the checked folder, quarantined messages included
