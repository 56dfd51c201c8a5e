"""A message as the application will read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox of an address header; `name` is "" when there is none."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What is known of a part that is not the message's text; its bytes stay in the raw message."""

    position: int  #: from 0, in the order of the parts
    filename: str | None
    content_type: str  #: lower case, without parameters
    size_bytes: int  #: decoded
    content_id: str | None  #: without angle brackets
    is_inline: bool
    sha256: bytes | None  #: of the decoded bytes; None when they could not be decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedMessage:
    """What a message says. Text is as decoded: only the store scrubs it for Postgres."""

    message_id: str | None = None  #: without angle brackets; neither unique nor always there
    in_reply_to: str | None = None
    references: Sequence[str] = ()
    thread_key: str | None = None  #: root of the References chain; a provider's own id wins over it
    subject: str | None = None
    from_: Address | None = None
    to: Sequence[Address] = ()
    cc: Sequence[Address] = ()
    bcc: Sequence[Address] = ()
    reply_to: Sequence[Address] = ()
    sent_at: datetime | None = None  #: the Date header, aware; None when absent or unreadable
    snippet: str = ""
    body_text: str | None = None
    body_html: str | None = None
    headers: Mapping[str, Sequence[str]] = field(default_factory=dict)  #: lower-case name -> values
    attachments: Sequence[Attachment] = ()
    parse_error: str | None = None  #: what could not be read; the rest is still there


@dataclass(frozen=True, slots=True)
class Flags:
    """The state of a message that changes after delivery.

    `is_draft` is the server's word, whatever folder the message lies in.
    """

    is_read: bool = False
    is_starred: bool = False
    is_answered: bool = False
    is_draft: bool = False
    keywords: tuple[str, ...] = ()  #: sorted; IMAP keywords, Graph categories
