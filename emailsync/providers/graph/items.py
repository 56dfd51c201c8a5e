"""A message as Graph's JSON has it -> our values. An item may be partial: what is absent is None.

Nothing here trusts the JSON: a value of another type than documented counts as absent.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from emailsync.domain.mail import Address, Attachment, Flags, ParsedMessage
from emailsync.domain.pages import FetchedMessage, Placement

Item = Mapping[str, Any]

ENVELOPE: Final = (
    *("id", "parentFolderId", "conversationId", "receivedDateTime", "isRead", "isDraft", "flag"),
    "categories",
)
"""What is needed beside the message's own bytes, and what may change after delivery."""
CONTENT: Final = (
    *ENVELOPE,
    *("internetMessageId", "subject", "from", "sender", "toRecipients", "ccRecipients"),
    *("bccRecipients", "replyTo", "sentDateTime", "bodyPreview", "body", "internetMessageHeaders"),
    "hasAttachments",
)
ATTACHMENT: Final = (
    *("id", "name", "contentType", "size", "isInline"),
    "microsoft.graph.fileAttachment/contentId",  # a property of files alone
)
SNIPPET_CHARS: Final = 200
MAX_TEXT_CHARS: Final = 4 * 1024 * 1024
MAX_REFERENCES: Final = 100
MAX_ID_CHARS: Final = 998  #: a line, RFC 5322 section 2.1.1
FIRST_YEAR: Final = 1970  #: year 1 is Exchange's "none"

_BRACKETED: Final = re.compile(r"<([^<>\s]+)>")


def select(names: Sequence[str]) -> str:
    """Return the value of `$select`."""
    return ",".join(names)


def has_envelope(item: Item) -> bool:
    """Return whether the item says all that is needed beside the message's own bytes."""
    return all(name in item for name in ENVELOPE)


def has_content(item: Item) -> bool:
    """Return whether the item says all that a message is made of.

    The headers are not waited for: some servers leave them out of delta queries.
    """
    return all(name in item for name in CONTENT if name != "internetMessageHeaders")


def parent_of(item: Item) -> str | None:
    """Return the id of the folder that the message lies in."""
    return text(item.get("parentFolderId"))


def flags_of(item: Item, known: Flags) -> Flags:
    """Return the state of a message: what the item tells, and else what is known."""
    changes: dict[str, Any] = {}
    for ours, theirs in (("is_read", "isRead"), ("is_draft", "isDraft")):
        if isinstance(item.get(theirs), bool):
            changes[ours] = item[theirs]
    flag = item.get("flag")
    if isinstance(flag, dict) and "flagStatus" in flag:
        changes["is_starred"] = flag["flagStatus"] == "flagged"
    categories = item.get("categories")
    if isinstance(categories, list):
        changes["keywords"] = tuple(sorted({name for name in categories if isinstance(name, str)}))
    return replace(known, **changes)


def received_at(item: Item) -> datetime | None:
    """Return when the message arrived."""
    return time(item.get("receivedDateTime"))


def wants_attachments(item: Item) -> bool:
    """Return whether there are attachments to ask for: inline ones alone are not told of."""
    return item.get("hasAttachments") is True or "cid:" in _content(item)


def size_of(item: Item, attachments: Sequence[Attachment]) -> int:
    """Return about how large the message is: Graph does not tell."""
    return len(_content(item).encode("utf-8", "replace")) + sum(
        part.size_bytes for part in attachments
    )


def message_of(
    item: Item,
    placements: tuple[Placement, ...],
    *,
    raw: bytes | None,
    attachments: Sequence[Attachment],
    problem: str | None,
    truncated: bool,
) -> FetchedMessage:
    """Return the message: its bytes as they are, or else what the item says.

    Args:
        item: with all of `ENVELOPE`, and without `raw` with all of `CONTENT`.
        placements: where it lies.
        raw: its bytes.
        attachments: without `raw`.
        problem: what could not be had of it.
        truncated: its bytes are over the limit.
    """
    return FetchedMessage(
        remote_id=item["id"],
        placements=placements,
        flags=flags_of(item, Flags()),
        received_at=received_at(item),
        size_bytes=size_of(item, attachments) if raw is None else len(raw),
        raw=raw,
        parsed=parsed(item, attachments, problem) if raw is None else None,
        thread_key=text(item.get("conversationId")),
        truncated=truncated,
    )


def parsed(
    item: Item, attachments: Sequence[Attachment], error: str | None = None
) -> ParsedMessage:
    """Return what the message says.

    Args:
        item: with all of `CONTENT`.
        attachments: of the message.
        error: what could not be had of it.
    """
    headers = _headers(item)
    references = _ids(" ".join(headers.get("references", ())))
    if len(references) > MAX_REFERENCES:  # the root, and the nearest parents
        references = references[: MAX_REFERENCES // 2] + references[-MAX_REFERENCES // 2 :]
    body, problem = _body(item)
    is_html = _body_type(item) == "html"
    return ParsedMessage(
        message_id=_message_id(item),
        in_reply_to=next(iter(_ids(" ".join(headers.get("in-reply-to", ())))), None),
        references=references,
        subject=text(item.get("subject")),
        from_=_address(item.get("from")) or _address(item.get("sender")),
        to=_addresses(item.get("toRecipients")),
        cc=_addresses(item.get("ccRecipients")),
        bcc=_addresses(item.get("bccRecipients")),
        reply_to=_addresses(item.get("replyTo")),
        sent_at=time(item.get("sentDateTime")),
        snippet=" ".join((text(item.get("bodyPreview")) or "").split())[:SNIPPET_CHARS].rstrip(),
        body_text=None if is_html else body,
        body_html=body if is_html else None,
        headers=headers,
        attachments=attachments,
        parse_error="; ".join(filter(None, (problem, error))) or None,
    )


def attachments_of(values: object) -> Sequence[Attachment]:
    """Read a list of attachments."""
    return [_attachment(value, at) for at, value in enumerate(_objects(values))]


def text(value: object) -> str | None:
    """Return a text that is one."""
    return value if isinstance(value, str) else None


def time(value: object) -> datetime | None:
    """Return an instant; None where there is none or Exchange means none."""
    try:
        named = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if named is None or named.year < FIRST_YEAR:
        return None
    return named.astimezone(UTC) if named.tzinfo else named.replace(tzinfo=UTC)


def _attachment(value: Item, position: int) -> Attachment:
    size = value.get("size")
    content_type = (text(value.get("contentType")) or "").partition(";")[0].strip().lower()
    content_id = (text(value.get("contentId")) or "").strip().strip("<>")
    return Attachment(
        position=position,
        filename=text(value.get("name")) or None,
        content_type=content_type or "application/octet-stream",
        size_bytes=size if isinstance(size, int) and 0 <= size < 1 << 62 else 0,
        content_id=content_id or None,
        is_inline=value.get("isInline") is True,
        sha256=None,
    )


def _content(item: Item) -> str:
    body = item.get("body")
    return (text(body.get("content")) if isinstance(body, dict) else None) or ""


def _body_type(item: Item) -> str:
    body = item.get("body")
    kind = text(body.get("contentType")) if isinstance(body, dict) else None
    return (kind or "text").lower()


def _body(item: Item) -> tuple[str | None, str | None]:
    """Return the body with line feeds only and none at its end, and what is wrong with it."""
    content = _content(item)
    if "\r" in content:
        content = content.replace("\r", "" if "\n" in content else "\n")
    content = content.rstrip("\n")
    if len(content) > MAX_TEXT_CHARS:
        return content[:MAX_TEXT_CHARS], f"text cut at {MAX_TEXT_CHARS} characters"
    return content or None, None


def _headers(item: Item) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for header in _objects(item.get("internetMessageHeaders")):
        name, value = text(header.get("name")), text(header.get("value"))
        if name and value is not None:
            headers.setdefault(name.lower(), []).append(value)
    return headers


def _message_id(item: Item) -> str | None:
    given = (text(item.get("internetMessageId")) or "").strip()
    return next(iter(_ids(given)), given.strip("<>"))[:MAX_ID_CHARS] or None


def _ids(value: str) -> list[str]:
    return [identifier[:MAX_ID_CHARS] for identifier in _BRACKETED.findall(value)]


def _addresses(values: object) -> Sequence[Address]:
    return [address for address in map(_address, _objects(values)) if address is not None]


def _address(recipient: object) -> Address | None:
    mailbox = recipient.get("emailAddress") if isinstance(recipient, dict) else None
    if not isinstance(mailbox, dict):
        return None
    name, address = text(mailbox.get("name")) or "", text(mailbox.get("address")) or ""
    return Address("" if name == address else name, address) if name or address else None


def _objects(values: object) -> Iterator[Item]:
    if isinstance(values, list):
        yield from (value for value in values if isinstance(value, dict))
