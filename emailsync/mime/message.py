"""Header fields and parts put together to what the application reads.

Both parsing paths end here; they differ in how they found the parts, and in how they decode a
text whose charset is not what it says.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from emailsync.domain.mail import Address, Attachment, ParsedMessage
from emailsync.mime.addresses import MAX_ADDRESSES, parse_addresses
from emailsync.mime.dates import parse_date
from emailsync.mime.headers import Fields, HeaderBlock, decoded_fields, first
from emailsync.mime.parts import Part
from emailsync.mime.snippet import snippet
from emailsync.mime.threading_keys import threading_keys

MAX_TEXT_CHARS: Final = 4 * 1024 * 1024  #: all text bodies together; War and Peace has 3.2 million
BODY_TYPES: Final = ("text/plain", "text/html")
ADDRESS_FIELDS: Final = ("from", "to", "cc", "bcc", "reply-to")
_MAX_ERROR_CHARS: Final = 500

TextDecoder = Callable[[bytes, str | None], str]


def assemble(
    block: HeaderBlock, parts: Iterable[Part], decode: TextDecoder, problems: list[str]
) -> ParsedMessage:
    """Build the message.

    Args:
        block: the message's own header.
        parts: its leaves in their order; read once, so that one part's bytes are held at a time.
        decode: bytes and declared charset to text; what it raises passes through.
        problems: what could not be read so far; the message's own are added.
    """
    texts, htmls, attachments = _sort_out(parts, decode, problems)
    body_text, body_html = _joined(texts, problems), _joined(htmls, problems)
    fields, headers = block.fields, decoded_fields(block)
    keys = threading_keys(fields)
    senders = _addresses(fields, "from", problems)
    return ParsedMessage(
        message_id=keys.message_id,
        in_reply_to=keys.in_reply_to,
        references=keys.references,
        thread_key=keys.thread_key,
        subject=first(headers, "subject"),
        from_=next((sender for sender in senders if sender.address), next(iter(senders), None)),
        to=_addresses(fields, "to", problems),
        cc=_addresses(fields, "cc", problems),
        bcc=_addresses(fields, "bcc", problems),
        reply_to=_addresses(fields, "reply-to", problems),
        sent_at=parse_date(first(fields, "date")),
        snippet=snippet(body_text, body_html),
        body_text=body_text,
        body_html=body_html,
        headers=headers,
        attachments=attachments,
        parse_error="; ".join(dict.fromkeys(problems))[:_MAX_ERROR_CHARS] if problems else None,
    )


def _sort_out(
    parts: Iterable[Part], decode: TextDecoder, problems: list[str]
) -> tuple[list[str], list[str], list[Attachment]]:
    bodies: dict[str, list[str]] = {kind: [] for kind in BODY_TYPES}
    attachments: list[Attachment] = []
    for index, part in enumerate(parts):
        if not part.is_intact:
            problems.append(f"part {index + 1}: broken {part.headers.transfer_encoding}")
        if is_body(part, index):
            text = _tidy(decode(part.content, part.headers.charset))
            bodies[part.headers.content_type].append(text)
        else:
            attachments.append(_attachment(part, len(attachments)))
    return bodies["text/plain"], bodies["text/html"], attachments


def is_body(part: Part, index: int) -> bool:
    """Say whether a part is what the message says: a named text is a file, unless it leads."""
    return (
        part.headers.content_type in BODY_TYPES
        and part.headers.disposition != "attachment"
        and (index == 0 or part.headers.filename is None)
    )


def _attachment(part: Part, position: int) -> Attachment:
    headers = part.headers
    return Attachment(
        position=position,
        filename=headers.filename,
        content_type=headers.content_type,
        size_bytes=len(part.content),
        content_id=headers.content_id,
        is_inline=headers.disposition == "inline"
        or (headers.disposition is None and headers.content_id is not None),
        sha256=hashlib.sha256(part.content).digest() if part.is_intact else None,
    )


def _tidy(text: str) -> str:
    """Return the text with line feeds only, and none at its end.

    Dropping the returns is three times as fast as replacing pairs, and is done for every text.
    The compiled parser invents a final line break where quoted-printable ends in a soft one.
    """
    if "\r" in text:
        text = text.replace("\r", "" if "\n" in text else "\n")
    return text.rstrip("\n")


def _joined(texts: Sequence[str], problems: list[str]) -> str | None:
    if not texts:
        return None
    whole = texts[0] if len(texts) == 1 else "\n".join(texts)
    if len(whole) > MAX_TEXT_CHARS:
        problems.append(f"text cut at {MAX_TEXT_CHARS} characters")
    return whole[:MAX_TEXT_CHARS]


def _addresses(fields: Fields, name: str, problems: list[str]) -> tuple[Address, ...]:
    values = fields.get(name)
    if not values:
        return ()
    addresses, complete = parse_addresses(values)
    if not complete:
        problems.append(f"{name}: more than {MAX_ADDRESSES} addresses")
    return tuple(addresses)
