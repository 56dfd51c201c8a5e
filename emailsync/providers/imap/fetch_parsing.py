"""A FETCH response -> `Fetch`. The hot path: one pattern match an item, nothing else.

Tolerant: items in any order, missing or unknown; what cannot be read ends the reading, and what
was read until there is returned.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, Final

from emailsync.domain.mail import Flags
from emailsync.domain.uid_set import MAX_UID
from emailsync.providers.imap.answers import Fetch

MAX_NUMBER64: Final = 2**63 - 1  #: RFC 9051 section 9 for sizes, RFC 7162 section 1 for modseq
MAX_NESTING: Final = 100  #: of a value that is skipped
MAX_KEYWORDS: Final = 100
"""Of one message; the rest is dropped. Servers allow some dozens in a whole folder, and thousands
of messages are held in memory with theirs."""
MAX_KEYWORD_CHARS: Final = 200
CACHED_FLAGS_BYTES: Final = 300  #: a longer list is read anew each time: the cache stays small

_ITEM: Final = re.compile(
    rb"""\ *(?:
        UID\ (?P<uid>\d{1,10})
      | FLAGS\ \((?P<flags>[^()]*)\)
      | MODSEQ\ \((?P<modseq>\d{1,20})\)
      | INTERNALDATE\ "(?P<received_at>[^"]*)"
      | RFC822\.SIZE\ (?P<size_bytes>\d{1,19})
      | BODY(?:\.PEEK)?\[(?P<section>[^\[\]]{0,998})\](?:<\d+>)?
        \ ?(?P<body>NIL|"(?:[^"\\]|\\.)*"|\Z)
      | EMAILID\ \((?P<email_id>[^()]*)\)
      | THREADID\ \((?P<thread_id>[^()]*)\)
      | X-GM-MSGID\ (?P<gmail_id>\d{1,20})
      | X-GM-THRID\ (?P<gmail_thread>\d{1,20})
      | (?P<end>\))
    )(?=[ )]|\Z)""",
    re.VERBOSE | re.IGNORECASE,
)
_FLAGS_ONLY: Final = re.compile(
    rb"UID (\d{1,10}) (?:MODSEQ \((\d{1,19})\) )?FLAGS \(([^()]*)\)\)\Z"
)
"""What a scan of all flags consists of, a hundred thousand times: read at one go."""
_NAME: Final = re.compile(rb' *[^ ()\[\]"]+(?:\[[^\[\]]*\](?:<\d+>)?)? ?')
_VALUE_PIECE: Final = re.compile(rb' *(?:(\()|(\))|"(?:[^"\\]|\\.)*"|[^ ()"]+)')
_DATE: Final = re.compile(
    rb" ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"
)
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        b"jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1
    )
}
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)


def parse_fetch(sequence: int, parts: Sequence[bytes], position: int) -> Fetch:
    """Read the items of one response.

    Args:
        sequence: the message's number in the mailbox; of no use across commands.
        parts: of the framed response, text and literals in turn.
        position: in the first part, behind the opening parenthesis.
    """
    flags_only = _FLAGS_ONLY.match(parts[0], position)
    if flags_only is not None:
        uid, modseq, flags = flags_only.groups()
        return Fetch(sequence, _uid(uid), parse_flags(flags), _number64(modseq or b""))
    values: dict[str, Any] = {}
    part, text = 0, parts[0]
    while True:
        item = _ITEM.match(text, position)
        if item is None:
            part, position = _skip(parts, part, position)
            if part < 0:
                break
            text = parts[part]
            continue
        position = item.end()
        kind = item.lastgroup
        if kind == "end":
            break
        assert kind is not None
        if kind != "body":
            name, read = _READERS[kind]
            values[name] = read(item[kind])
            continue
        is_literal = not item["body"]
        if is_literal and part + 2 >= len(parts):
            break
        body = parts[part + 1] if is_literal else _nil_or_quoted(item["body"])
        values.setdefault("sections", {})[_section_name(item["section"])] = body
        if is_literal:
            part, position = part + 2, 0
            text = parts[part]
    return Fetch(sequence, **values)


def _uid(digits: bytes) -> int | None:
    uid = int(digits)
    return uid if 0 < uid <= MAX_UID else None


def _number64(digits: bytes) -> int | None:
    number = int(digits or b"0")
    return number if digits and number <= MAX_NUMBER64 else None


def _text(value: bytes) -> str | None:
    return value.decode("latin-1") or None


def _nil_or_quoted(value: bytes) -> bytes | None:
    return unquoted(value) if value.startswith(b'"') else None


@lru_cache(maxsize=64)
def _section_name(raw: bytes) -> str:
    return raw.decode("latin-1").upper()


def parse_flags(raw: bytes) -> Flags:
    r"""Read a flag list without its parentheses; \Recent and \Deleted are of no interest here."""
    return _cached_flags(raw) if len(raw) <= CACHED_FLAGS_BYTES else _flags(raw)


def _flags(raw: bytes) -> Flags:
    names = raw.decode("latin-1").split()
    system = {name.lower() for name in names if name.startswith("\\")}
    return Flags(
        is_read="\\seen" in system,
        is_starred="\\flagged" in system,
        is_answered="\\answered" in system,
        is_draft="\\draft" in system,
        keywords=tuple(sorted(_keywords(names))[:MAX_KEYWORDS]),
    )


def _keywords(names: Sequence[str]) -> set[str]:
    return {name for name in names if not name.startswith("\\") and len(name) <= MAX_KEYWORD_CHARS}


_cached_flags: Final = lru_cache(maxsize=4096)(_flags)


def parse_internal_date(text: bytes) -> datetime | None:
    """Read an INTERNALDATE, its day padded with a space, a zero or nothing; None: unreadable."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    try:
        return datetime(
            int(year),
            _MONTHS[month.lower()],
            int(day),
            int(hour),
            int(minute),
            min(int(second), 59),  # a leap second
            tzinfo=_zone(sign, zone_hours, zone_minutes),
        )
    except (ValueError, KeyError):
        return None


@lru_cache(maxsize=256)
def _zone(sign: bytes, hours: bytes, minutes: bytes) -> timezone:
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    if not offset:
        return UTC
    return timezone(-offset if sign == b"-" else offset)


def unquoted(quoted: bytes) -> bytes:
    """Return what a quoted string says."""
    return _ESCAPED.sub(rb"\1", quoted[1:-1])


def _skip(parts: Sequence[bytes], part: int, position: int) -> tuple[int, int]:
    """Step over an item that nobody asked for; part -1: there is nothing to go on with."""
    name = _NAME.match(parts[part], position)
    if name is None:
        return -1, 0
    position = name.end()
    depth = 0
    while True:
        piece = _VALUE_PIECE.match(parts[part], position)
        if piece is not None:
            position = piece.end()
            depth += bool(piece[1]) - bool(piece[2])
        elif not parts[part][position:].strip(b" ") and part + 2 < len(parts):
            part, position = part + 2, 0  # the value, or a piece of it, was a literal
        else:
            return -1, 0
        if depth < 0 or depth > MAX_NESTING:
            return -1, 0
        if depth == 0:
            return part, position


_READERS: Final[Mapping[str, tuple[str, Callable[[bytes], Any]]]] = {
    "uid": ("uid", _uid),
    "flags": ("flags", parse_flags),
    "modseq": ("modseq", _number64),
    "received_at": ("received_at", parse_internal_date),
    "size_bytes": ("size_bytes", _number64),
    "email_id": ("email_id", _text),
    "thread_id": ("thread_id", _text),
    "gmail_id": ("email_id", _text),
    "gmail_thread": ("thread_id", _text),
}
"""What an item of `_ITEM` is called in `Fetch`, and how it is read."""
