"""Gmail's JSON, read once: from the API's resources to values. No requests, no meaning of labels.

Numbers of 64 bits come as strings, empty lists are left out, and a part of an answer that has not
the documented shape makes the whole of it unusable.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, Final, TypeVar

import pybase64

from emailsync.domain.errors import ServerRefused

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

MAX_NAME_CHARS: Final = 2_000  #: of an id or a token; Postgres indexes up to 2,700 bytes

_HISTORY_ID: Final = re.compile(r"[0-9]{1,20}", re.ASCII)  #: 64 bits without a sign
_END_OF_HEADERS: Final = re.compile(rb"\r?\n\r?\n")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Label:
    """A label as the mailbox lists it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class MessageList:
    """One page of message ids, newest first."""

    ids: Sequence[str]
    next_page: str  #: "" for the last page


class EventKind(Enum):
    """What one entry of the history tells of a message."""

    ADDED = auto()
    DELETED = auto()  #: for ever; into the trash is a label
    LABELS_ADDED = auto()
    LABELS_REMOVED = auto()


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a message."""

    kind: EventKind
    message_id: str
    labels: frozenset[str]  #: those added or removed; of an added message, all it had


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of what happened, oldest first."""

    events: Sequence[Event]
    last_record: str | None  #: id of the last record; None: the page had none
    next_page: str  #: "" for the last page
    history_id: str  #: of the mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class GmailMessage:
    """One message as `messages.get` gave it."""

    id: str
    thread_id: str | None
    labels: frozenset[str]
    received_at: datetime | None
    size_bytes: int
    raw: bytes = field(default=b"", repr=False)
    truncated: bool = False  #: `raw` holds the headers only

    def cut_to(self, max_bytes: int) -> "GmailMessage":
        """Return the message, its headers only where it is larger."""
        if len(self.raw) <= max_bytes:
            return self
        end = _END_OF_HEADERS.search(self.raw, 0, max_bytes)
        return replace(self, raw=self.raw[: end.end() if end else max_bytes], truncated=True)


def history_id_of(profile: Mapping[str, Any]) -> str:
    """Return the mailbox's current history id from its profile."""
    return _number(profile, "historyId")


def address_of(profile: Mapping[str, Any]) -> str:
    """Return the mailbox's own address from its profile."""
    return _of_type(profile, "emailAddress", str)


def labels_of(answer: Mapping[str, Any]) -> Iterator[Label]:
    """Yield the labels of a `labels.list`; there may be 10,000."""
    for item in _list(answer, "labels"):
        yield Label(_name(item), _of_type(item, "name", str))


def total_of(label: Mapping[str, Any]) -> int:
    """Return how many messages a label has."""
    total = label.get("messagesTotal", 0)
    if not isinstance(total, int):
        raise ServerRefused("Gmail's count of a label is no number")
    return total


def message_list_of(answer: Mapping[str, Any]) -> MessageList:
    """Return the page of a `messages.list`."""
    ids = [_name(item) for item in _list(answer, "messages")]
    return MessageList(ids, _token(answer))


def history_page_of(answer: Mapping[str, Any]) -> HistoryPage:
    """Return the page of a `history.list`; one without `history` is no end (lieer issue 24)."""
    records = _list(answer, "history")
    return HistoryPage(
        events=[event for record in records for event in _events(record)],
        last_record=_number(records[-1], "id") if records else None,
        next_page=_token(answer),
        history_id=_number(answer, "historyId"),
    )


def message_labels_of(message: Mapping[str, Any]) -> frozenset[str]:
    """Return the label ids of a message; without any the key is left out."""
    labels = message.get("labelIds") or ()
    if not isinstance(labels, list | tuple) or not all(map(_is_name, labels)):
        raise ServerRefused("Gmail's labels of a message are no texts")
    return frozenset(labels)


def whole_message_of(message: Mapping[str, Any]) -> GmailMessage:
    """Return the message of a `messages.get` in the format `raw`.

    Raises:
        ServerRefused: it lacks its bytes, or they are no base64url.
    """
    raw = decoded(_of_type(message, "raw", str))
    return _message(message, raw=raw, size_bytes=len(raw))


def labelled_message_of(message: Mapping[str, Any]) -> GmailMessage:
    """Return the message of a `messages.get` in the format `minimal`: its labels."""
    return _message(message, raw=b"", size_bytes=0)


def headers_only_of(message: Mapping[str, Any]) -> GmailMessage:
    """Return the message of a `messages.get` in the format `metadata`: without its body."""
    payload = message.get("payload")
    fields = _list(payload, "headers") if isinstance(payload, dict) else ()
    lines = (f"{_of_type(f, 'name', str)}: {_of_type(f, 'value', str)}\r\n" for f in fields)
    size = message.get("sizeEstimate", 0)
    return _message(
        message,
        raw=f"{''.join(lines)}\r\n".encode("utf-8", "surrogateescape"),
        size_bytes=size if isinstance(size, int) else 0,
        truncated=True,
    )


def decoded(text: str) -> bytes:
    """Decode base64url, with or without its padding, at ten times the standard library's speed.

    Raises:
        ServerRefused: it is none.
    """
    try:
        return pybase64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
    except ValueError as error:
        raise ServerRefused("the bytes of a message are no base64url") from error


def _message(
    message: Mapping[str, Any], *, raw: bytes, size_bytes: int, truncated: bool = False
) -> GmailMessage:
    thread = message.get("threadId")
    return GmailMessage(
        id=_name(message),
        thread_id=thread if isinstance(thread, str) else None,
        labels=message_labels_of(message),
        received_at=_time(message.get("internalDate")),
        size_bytes=size_bytes,
        raw=raw,
        truncated=truncated,
    )


def _events(record: Mapping[str, Any]) -> Iterator[Event]:
    """Yield what a record tells; its `messages` only repeat who it is about."""
    for item in _list(record, "messagesAdded"):
        message = _of_type(item, "message", dict)
        yield Event(EventKind.ADDED, _name(message), message_labels_of(message))
    for name, kind in (
        ("labelsAdded", EventKind.LABELS_ADDED),
        ("labelsRemoved", EventKind.LABELS_REMOVED),
    ):
        for item in _list(record, name):
            message = _of_type(item, "message", dict)
            yield Event(kind, _name(message), message_labels_of(item))
    for item in _list(record, "messagesDeleted"):
        message = _of_type(item, "message", dict)
        yield Event(EventKind.DELETED, _name(message), frozenset())


def _time(milliseconds: object) -> datetime | None:
    """Return `internalDate` as a time; one that no calendar has is left out."""
    try:
        return EPOCH + timedelta(milliseconds=int(str(milliseconds)))
    except (ValueError, OverflowError):
        return None


def _token(answer: Mapping[str, Any]) -> str:
    token = answer.get("nextPageToken") or ""
    if token and not _is_name(token):
        raise ServerRefused("Gmail's nextPageToken is none")
    return str(token)


def _name(of: Mapping[str, Any]) -> str:
    """Return an id: it goes into URLs, and into the index of what is stored."""
    value = of.get("id")
    if not _is_name(value):
        raise ServerRefused("Gmail's answer has no id, or one that is none")
    return str(value)


def _is_name(value: object) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_CHARS:
        return False
    return value.isascii() and value.isprintable()


def _number(of: Mapping[str, Any], name: str) -> str:
    """Return a place in the history: kept as a bookmark, another text would be refused for ever."""
    value = of.get(name)
    if not isinstance(value, str) or not _HISTORY_ID.fullmatch(value):
        raise ServerRefused(f"Gmail's {name} is no number")
    return value


def _list(of: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    items = of.get(name) or ()
    if not isinstance(items, list | tuple) or not all(isinstance(item, dict) for item in items):
        raise ServerRefused(f"Gmail's {name} is no list of objects")
    return items


def _of_type(of: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = of.get(name)
    if not isinstance(value, kind) or not value:
        raise ServerRefused(f"Gmail's answer lacks {name}")
    return value
