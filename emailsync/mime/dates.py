"""The Date field to an instant (RFC 5322 section 3.3, and the dates that real senders write)."""

import email.utils
import re
from datetime import UTC, datetime
from typing import Final

_MAX_DATE_CHARS: Final = 200  #: the standard library's parser looks at every word
_FIRST_YEAR: Final = 1970  #: before it, and after the last, is a broken clock or a joke
_LAST_YEAR: Final = 2100

_USUAL: Final = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d\d?) ([A-Z][a-z]{2}) (\d{4}) (\d\d:\d\d:\d\d) ([+-]\d{4})"
    r"(?: \([A-Z]{1,5}\))?",
    re.ASCII,
)
_MONTHS: Final = {
    name: f"{number:02}"
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}


def parse_date(value: str | None) -> datetime | None:
    """Return the instant in UTC, None where none between 1970 and 2100 is named.

    A date without a zone is taken as UTC.
    """
    if not value:
        return None
    try:
        named = _read_usual(value) or _read_any(value[:_MAX_DATE_CHARS])
    except (ValueError, TypeError, OverflowError, IndexError):  # what cpython#94306 and others say
        return None
    return named if _FIRST_YEAR <= named.year < _LAST_YEAR else None


def _read_usual(value: str) -> datetime | None:
    """Read the form that nearly all senders write, five times as fast as the standard library."""
    match = _USUAL.fullmatch(value)
    if match is None or match[2] not in _MONTHS:
        return None
    day, month, year, time, zone = match.groups()
    iso = f"{year}-{_MONTHS[month]}-{day:0>2}T{time}{zone}"
    return datetime.fromisoformat(iso).astimezone(UTC)


def _read_any(value: str) -> datetime:
    named = email.utils.parsedate_to_datetime(value)
    return named.replace(tzinfo=UTC) if named.tzinfo is None else named.astimezone(UTC)
