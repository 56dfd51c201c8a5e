"""From messages to the parameters of messages.sql: one array a column, in the statements' order.

Every text, JSON and date of a message passes text.py here; nothing here talks to Postgres.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import Any, Final

from emailsync.domain.folders import FolderCursor, FolderId
from emailsync.domain.mail import Address, Attachment, Flags
from emailsync.domain.pages import Placement, ReadyMessage
from emailsync.store.text import pg_json, pg_line, pg_text, pg_time

Columns = Sequence[Sequence[Any]]

LARGE_RAW_BYTES: Final = 4 * 1024 * 1024
"""More than this in one parameter stalls the event loop: 32 MB took 150 ms to encode and send."""

STATEMENT_BYTES: Final = 512 * 1024
"""Of raw messages: to encode them, and what was parsed of them, takes some milliseconds."""

MESSAGE_COLUMNS: Final = 28
PLACEMENT_COLUMNS: Final = 3
ATTACHMENT_COLUMNS: Final = 8
CURSOR_COLUMNS: Final = 8


def columns_of(rows: Iterable[tuple[Any, ...]], width: int) -> Columns:
    """Turn rows into columns; no rows make empty columns."""
    return list(zip(*rows, strict=True)) or [()] * width


def message_columns(messages: Iterable[ReadyMessage], *, keep_raw: bool) -> Columns:
    """Return $3-$30 of insert_messages and update_messages; large raw bytes are left out."""
    rows = (_message_row(message, keep_raw=keep_raw) for message in messages)
    return columns_of(rows, MESSAGE_COLUMNS)


def is_large(message: ReadyMessage) -> bool:
    """Tell whether the raw bytes have to be sent in pieces."""
    return message.fetched.raw is not None and len(message.fetched.raw) > LARGE_RAW_BYTES


def in_parts(messages: Sequence[ReadyMessage]) -> Iterator[Sequence[ReadyMessage]]:
    """Yield the messages in parts that one statement takes, as few as possible."""
    part: list[ReadyMessage] = []
    part_bytes = 0
    for message in messages:
        raw_bytes = len(message.fetched.raw or b"")
        if part and part_bytes + raw_bytes > STATEMENT_BYTES:
            yield part
            part, part_bytes = [], 0
        part.append(message)
        part_bytes += raw_bytes
    if part:
        yield part


def flag_row(flags: Flags) -> tuple[bool, bool, bool, bool, str]:
    """Return the five columns of a message's state."""
    return (
        flags.is_read,
        flags.is_starred,
        flags.is_answered,
        flags.is_draft,
        _array_literal(flags.keywords),
    )


def placement_columns(places: Mapping[Any, Sequence[Placement]]) -> Columns:
    """Return message, folder and UID of every placement; a folder counts once for a message."""
    rows = (
        (message, folder, uid)
        for message, placements in places.items()
        for folder, uid in folders_of(placements).items()
    )
    return columns_of(rows, PLACEMENT_COLUMNS)


def folders_of(placements: Sequence[Placement]) -> dict[int, int | None]:
    """Return the UID in each folder; named twice, the last one counts."""
    return {placement.folder_id: placement.uid for placement in placements}


def cursor_columns(cursors: Mapping[FolderId, FolderCursor]) -> Columns:
    """Return folder and cursor of every folder."""
    rows = ((folder, *astuple(cursor)) for folder, cursor in cursors.items())
    return columns_of(rows, CURSOR_COLUMNS)


def attachment_columns(attachments: Mapping[Any, Sequence[Attachment]]) -> Columns:
    """Return message and description of every attachment; a position counts once."""
    rows = (
        (
            message,
            position,
            pg_line(part.filename),
            pg_line(part.content_type),
            part.size_bytes,
            pg_line(part.content_id),
            part.is_inline,
            part.sha256,
        )
        for message, parts in attachments.items()
        for position, part in {part.position: part for part in parts}.items()
    )
    return columns_of(rows, ATTACHMENT_COLUMNS)


def _message_row(message: ReadyMessage, *, keep_raw: bool) -> tuple[Any, ...]:
    fetched, parsed = message.fetched, message.parsed
    sender = parsed.from_ or Address("", "")
    return (
        fetched.remote_id,
        pg_line(fetched.thread_key or parsed.thread_key),
        pg_line(parsed.message_id),
        pg_line(parsed.in_reply_to),
        pg_line(parsed.subject),
        pg_line(sender.address) or None,
        pg_line(sender.name) or None,
        _addresses(parsed.to),
        _addresses(parsed.cc),
        _addresses(parsed.bcc),
        _addresses(parsed.reply_to),
        pg_time(parsed.sent_at),
        pg_time(fetched.received_at),
        fetched.size_bytes,
        *flag_row(fetched.flags),
        pg_line(parsed.snippet),
        None if parsed.body_text is None else pg_text(parsed.body_text),
        None if parsed.body_html is None else pg_text(parsed.body_html),
        pg_json(parsed.headers),
        any(not part.is_inline for part in parsed.attachments),
        fetched.raw if keep_raw and not is_large(message) else None,
        message.raw_sha256,
        fetched.truncated,
        pg_line(parsed.parse_error),
    )


def _addresses(addresses: Sequence[Address]) -> str:
    if not addresses:
        return "[]"
    return pg_json([{"name": item.name, "address": item.address} for item in addresses])


def _array_literal(texts: Sequence[str]) -> str:
    """Spell a text[]: unnest would flatten an array of arrays (PostgreSQL manual, 8.15.2)."""
    if not texts:
        return "{}"
    quoted = (pg_text(text).replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return '{"' + '","'.join(quoted) + '"}'
