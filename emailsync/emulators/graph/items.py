"""The folders and messages of a mailbox, as they truly are.

Mail from the generator is written and read only when somebody looks at it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property, lru_cache

from emailsync.emulators.graph.changes import ChangeFeed
from emailsync.emulators.graph.ids import IdKind, ItemId
from emailsync.emulators.graph.mail_content import CRLF, MailContent, read_mail
from emailsync.emulators.mail_generator import generate

CACHED_CONTENTS = 256

ROOT = "msgfolderroot"
INBOX = "inbox"
DRAFTS = "drafts"
DELETED_ITEMS = "deleteditems"

#: Well-known names and what English mailboxes show; they are shown in the mailbox's language.
DISPLAY_NAMES = {
    INBOX: "Inbox",
    DRAFTS: "Drafts",
    "sentitems": "Sent Items",
    DELETED_ITEMS: "Deleted Items",
    "junkemail": "Junk Email",
    "archive": "Archive",
    "outbox": "Outbox",
    "conversationhistory": "Conversation History",
}


class FlagStatus(StrEnum):
    """The follow-up flag."""

    NOT_FLAGGED = "notFlagged"
    FLAGGED = "flagged"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class GeneratedSource:
    """Mail that the generator writes again whenever it is asked for."""

    seed: int
    index: int
    recipient: str
    sent_at: datetime

    def raw(self) -> bytes:
        """Write the message."""
        return generate(self.seed, self.index, recipient=self.recipient, sent_at=self.sent_at).raw


@dataclass(frozen=True, slots=True)
class RawSource:
    """Mail that somebody has handed in."""

    octets: bytes

    def raw(self) -> bytes:
        """Return the message with line ends as on the wire."""
        return self.octets.replace(CRLF, b"\n").replace(b"\n", CRLF)


@lru_cache(maxsize=CACHED_CONTENTS)
def _content(source: GeneratedSource | RawSource) -> MailContent:
    return read_mail(source.raw())


@dataclass(kw_only=True)
class Folder:
    """A folder; the tree is by `parent`."""

    mailbox: bytes
    number: int
    display_name: str
    parent: int | None  #: number; None: the root
    well_known: str | None = None
    is_hidden: bool = False
    members: dict[int, None] = field(default_factory=dict)  #: numbers of messages
    feed: ChangeFeed = field(default_factory=ChangeFeed)

    @cached_property
    def id(self) -> str:
        """The folder's constant id."""
        return str(ItemId(self.mailbox, IdKind.FOLDER, self.number))


@dataclass(slots=True, kw_only=True)
class Message:
    """A message where it lies now."""

    mailbox: bytes
    number: int
    source: GeneratedSource | RawSource
    folder: int  #: number
    received_at: datetime  #: whole seconds
    modified_at: datetime
    is_read: bool = False
    is_draft: bool = False
    flag: FlagStatus = FlagStatus.NOT_FLAGGED
    categories: tuple[str, ...] = ()
    moves: int = 0
    version: int = 1  #: grows with every change

    @property
    def id(self) -> str:
        """The immutable id."""
        return str(ItemId(self.mailbox, IdKind.MESSAGE, self.number))

    @property
    def regular_id(self) -> str:
        """The id without `Prefer: IdType="ImmutableId"`, until the next move."""
        return str(ItemId(self.mailbox, IdKind.REGULAR_MESSAGE, self.number, self.moves))

    @property
    def content(self) -> MailContent:
        """What the message says; `content.raw` are its bytes."""
        return _content(self.source)
