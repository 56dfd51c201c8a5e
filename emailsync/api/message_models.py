"""What is shown of synced mail: the columns of the tables, under their names."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel


class MailAddress(BaseModel):
    """A correspondent."""

    name: str
    address: str


class MessageSummary(BaseModel):
    """A message as lists show it."""

    id: int
    provider_id: UUID
    thread_key: str | None
    message_id: str | None  #: of the header
    subject: str | None
    from_address: str | None
    from_name: str | None
    to_addresses: list[MailAddress]
    sent_at: datetime | None  #: the sender's word
    received_at: datetime | None  #: the server's
    size_bytes: int
    is_read: bool
    is_starred: bool
    is_answered: bool
    is_draft: bool
    keywords: list[str]
    snippet: str
    has_attachments: bool
    created_at: datetime
    updated_at: datetime


class MessagePage(BaseModel):
    """Messages, the latest first."""

    items: list[MessageSummary]
    next_cursor: str | None


class MessageFolder(BaseModel):
    """A folder that a message lies in."""

    id: int
    path: str
    role: str | None
    uid: int | None


class MessageAttachment(BaseModel):
    """What an attachment is; its bytes are at `.../attachments/{position}`."""

    position: int
    filename: str | None
    content_type: str
    size_bytes: int
    content_id: str | None
    is_inline: bool
    sha256: str | None


class Message(MessageSummary):
    """Everything of a message but its bytes, which are at `.../raw`."""

    in_reply_to: str | None
    cc_addresses: list[MailAddress]
    bcc_addresses: list[MailAddress]
    reply_to: list[MailAddress]
    body_text: str | None
    body_html: str | None  #: as the sender wrote it: to be made harmless before it is shown
    headers: dict[str, list[str]]
    raw_sha256: str | None
    is_truncated: bool  #: too large: the headers only
    parse_error: str | None
    deleted_at: datetime | None
    folders: list[MessageFolder]
    attachments: list[MessageAttachment]
