"""Ledger entries as the Gmail API writes them in JSON.

64-bit integers are strings, empty lists are left out, bytes are base64url (RFC 4648 section 5).
"""

import email.message
import email.policy
import re
from collections.abc import Collection, Iterator
from html import escape
from random import Random
from typing import Any

import orjson
import pybase64

from emailsync.emulators.gmail.history import HistoryRecord
from emailsync.emulators.gmail.ledger import GmailMailbox, GmailMessage, Label

INLINE_MAX_BYTES = 30_000  #: of a part's content; above it, and for files, there is an attachmentId
SNIPPET_LENGTH = 100

_SUBJECT = re.compile(rb"^subject: *([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_FOLD = re.compile(r"\r?\n(?=[ \t])")

_nonces = Random(1)


def label_json(label: Label) -> dict[str, Any]:
    """Return a label without counts, as it stands in a list."""
    item = {"id": label.id, "name": label.name, "type": "system" if label.is_system else "user"}
    if not label.is_system:
        item |= {"messageListVisibility": "show", "labelListVisibility": "labelShow"}
    return item


def counted_label_json(mailbox: GmailMailbox, label: Label) -> dict[str, Any]:
    """Return a label with its counts, as `labels.get` does."""
    counts = mailbox.counts(label.id)
    return label_json(label) | {
        "messagesTotal": counts.messages,
        "messagesUnread": counts.unread_messages,
        "threadsTotal": counts.threads,
        "threadsUnread": counts.unread_threads,
    }


def history_json(record: HistoryRecord, kinds: Collection[str]) -> dict[str, Any]:
    """Return a record, with what is of these kinds only; no kinds: all of it."""
    short = {"id": record.message_id, "threadId": record.thread_id}
    message = short | _label_ids(record.labels)
    parts: dict[str, tuple[str, list[dict[str, Any]]]] = {
        "messageAdded": ("messagesAdded", [{"message": message}]),
        "messageDeleted": ("messagesDeleted", [{"message": message}]),
        "labelAdded": (
            "labelsAdded",
            [{"message": message} | _label_ids(record.labels_added)],
        ),
        "labelRemoved": (
            "labelsRemoved",
            [{"message": message} | _label_ids(record.labels_removed)],
        ),
    }
    wanted = (kind for kind in parts if kind in record.kinds and (not kinds or kind in kinds))
    return {"id": str(record.id), "messages": [short]} | dict(parts[kind] for kind in wanted)


def message_json(message: GmailMessage, raw: bytes) -> dict[str, Any]:
    """Return what all formats have in common, which is the whole of `minimal`."""
    subject = _SUBJECT.search(raw)
    snippet = subject[1].decode("utf-8", "replace")[:SNIPPET_LENGTH] if subject else ""
    return {
        "id": message.id,
        "threadId": message.thread_id,
        **_label_ids(message.labels),
        "snippet": escape(snippet),
        "historyId": str(message.history_id),
        "internalDate": str(message.internal_date),
        "sizeEstimate": len(raw),
    }


def raw_message(message: GmailMessage, *, padded: bool) -> bytes:
    """Return format `raw`, encoded: nearly all of it is base64, so it is put together as bytes."""
    raw = message.raw
    head = orjson.dumps(message_json(message, raw))
    return b"".join((head[:-1], b',"raw":"', base64url(raw, padded=padded), b'"}'))


def metadata_payload(raw: bytes, names: Collection[str]) -> dict[str, Any]:
    """Return the headers, of these names only if there are any."""
    parsed = _parsed(raw)
    wanted = {name.lower() for name in names}
    headers = [item for item in _headers(parsed) if not wanted or item["name"].lower() in wanted]
    return {"mimeType": parsed.get_content_type(), "headers": headers}


def full_payload(raw: bytes, *, padded: bool) -> dict[str, Any]:
    """Return the message as a tree of parts."""
    numbers = iter(range(1 << 20))
    return _part(_parsed(raw), "", numbers, padded=padded)


def attachment(raw: bytes, attachment_id: str) -> bytes | None:
    """Return the decoded content that an `attachmentId` stands for; None: for nothing."""
    number = attachment_id.rpartition("-")[2]
    if number.isdecimal():
        for at, part in enumerate(_parsed(raw).walk()):
            if at == int(number) and not part.is_multipart():
                return _content(part)
    return None


def base64url(octets: bytes, *, padded: bool) -> bytes:
    """Return base64 in the alphabet of URLs."""
    encoded = pybase64.urlsafe_b64encode(octets)
    return encoded if padded else encoded.rstrip(b"=")


def _label_ids(labels: Collection[str]) -> dict[str, Any]:
    return {"labelIds": sorted(labels)} if labels else {}


def _parsed(raw: bytes) -> "email.message.Message[str, str]":
    return email.message_from_bytes(raw, policy=email.policy.compat32)


def _headers(part: "email.message.Message[str, str]") -> list[dict[str, str]]:
    return [
        {"name": name, "value": _FOLD.sub("", _utf8(str(value)))}
        for name, value in part.raw_items()
    ]


def _utf8(text: str) -> str:
    """Return text without the escapes by which the parser keeps bytes beyond ASCII."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _part(
    part: "email.message.Message[str, str]", path: str, numbers: Iterator[int], *, padded: bool
) -> dict[str, Any]:
    number = next(numbers)
    payload: dict[str, Any] = {
        "partId": path,
        "mimeType": part.get_content_type(),
        "filename": _utf8(part.get_filename() or ""),
        "headers": _headers(part),
        "body": {"size": 0},
    }
    if part.is_multipart():
        children = enumerate(part.get_payload())
        payload["parts"] = [
            _part(child, f"{path}.{at}".lstrip("."), numbers, padded=padded)
            for at, child in children
        ]
        return payload
    content = _content(part)
    payload["body"]["size"] = len(content)
    if payload["filename"] or len(content) > INLINE_MAX_BYTES:
        # Another one each time: Gmail's are not stable between calls.
        payload["body"]["attachmentId"] = f"ANGjdJ{_nonces.getrandbits(64):016x}-{number}"
    elif content:
        payload["body"]["data"] = base64url(content, padded=padded).decode()
    return payload


def _content(part: "email.message.Message[str, str]") -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""
