"""A FETCH response -> `Fetch`. The hot path: one pattern match an item, nothing else.

Tolerant: items in any order, missing or unknown; what cannot be read ends the reading, and what
was read until there is returned.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

from emailsync.domain.mail import Flags
from emailsync.domain.uid_set import MAX_UID
from emailsync.providers.imap.answers import MAX_MODSEQ, Fetch

MAX_SIZE: Final = 2**63 - 1  #: RFC 9051 section 9, number64
MAX_NESTING: Final = 100  #: of a value that is skipped

_ITEM: Final = re.compile(
    rb"""\ ?(?:
        UID\ (?P<uid>\d{1,10})
      | FLAGS\ \((?P<flags>[^()]*)\)
      | MODSEQ\ \((?P<modseq>\d{1,20})\)
      | INTERNALDATE\ "(?P<date>[^"]*)"
      | RFC822\.SIZE\ (?P<size>\d{1,19})
      | BODY(?:\.PEEK)?\[(?P<section>[^\]]*)\](?:<\d+>)?\ ?(?P<body>NIL|"(?:[^"\\]|\\.)*"|\Z)
      | EMAILID\ \((?P<email_id>[^()]*)\)
      | THREADID\ \((?P<thread_id>[^()]*)\)
      | X-GM-MSGID\ (?P<gmail_id>\d{1,20})
      | X-GM-THRID\ (?P<gmail_thread>\d{1,20})
      | (?P<end>\))
    )(?=[ )]|\Z)""",
    re.VERBOSE | re.IGNORECASE,
)
_NAME: Final = re.compile(rb' ?[^ ()\[\]"]+(?:\[[^\]]*\](?:<\d+>)?)? ?')
_VALUE_PIECE: Final = re.compile(rb' *(?:(\()|(\))|"(?:[^"\\]|\\.)*"|[^ ()"]+)')
_DATE: Final = re.compile(
    r" ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"
)
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
        start=1,
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
    values: dict[str, bytes] = {}
    sections: dict[str, bytes | None] = {}
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
            values[kind] = item[kind]
            continue
        section, value = _section_name(item["section"]), item["body"]
        if value:
            sections[section] = None if value[:1] in b"Nn" else unquoted(value)
        elif part + 2 < len(parts):
            sections[section] = parts[part + 1]
            part, position = part + 2, 0
            text = parts[part]
        else:
            break
    return _fetch(sequence, values, sections)


def _fetch(sequence: int, values: dict[str, bytes], sections: dict[str, bytes | None]) -> Fetch:
    get = values.get
    uid = int(get("uid", b"0"))
    flags = get("flags")
    date = get("date")
    return Fetch(
        sequence,
        uid if 0 < uid <= MAX_UID else None,
        parse_flags(flags) if flags is not None else None,
        _bounded(get("modseq"), MAX_MODSEQ),
        parse_internal_date(date.decode("latin-1")) if date is not None else None,
        _bounded(get("size"), MAX_SIZE),
        _text(get("email_id") or get("gmail_id")),
        _text(get("thread_id") or get("gmail_thread")),
        sections,
    )


def _bounded(digits: bytes | None, limit: int) -> int | None:
    if digits is None:
        return None
    number = int(digits)
    return number if number <= limit else None


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value else None


@lru_cache(maxsize=64)
def _section_name(raw: bytes) -> str:
    return raw.decode("latin-1").upper()


@lru_cache(maxsize=4096)
def parse_flags(raw: bytes) -> Flags:
    r"""Read a flag list without its parentheses; \Recent and \Deleted are of no interest here."""
    names = raw.decode("latin-1").split()
    system = {name.lower() for name in names if name.startswith("\\")}
    return Flags(
        is_read="\\seen" in system,
        is_starred="\\flagged" in system,
        is_answered="\\answered" in system,
        is_draft="\\draft" in system,
        keywords=tuple(sorted({name for name in names if not name.startswith("\\")})),
    )


def parse_internal_date(text: str) -> datetime | None:
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
def _zone(sign: str, hours: str, minutes: str) -> timezone:
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    if not offset:
        return UTC
    return timezone(-offset if sign == "-" else offset)


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
        elif position == len(parts[part]) and part + 2 < len(parts):
            part, position = part + 2, 0  # the value, or a piece of it, was a literal
        else:
            return -1, 0
        if depth < 0 or depth > MAX_NESTING:
            return -1, 0
        if depth == 0:
            return part, position
