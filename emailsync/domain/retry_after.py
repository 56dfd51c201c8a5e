"""How long a provider asks us to stay away, from what its answer says.

The header comes in seconds or as a date, and in the field as a fraction, negative, in the past,
ten years ahead or as garbage. Whoever names a time gets between a second and an hour; who names
none, or none that can be read, leaves the wait to the caller's own backoff.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from emailsync.domain.retry import LONGEST, SHORTEST

SECONDS: Final = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{0,300})?", re.ASCII)
"""More digits than a float holds are no number that anybody meant."""
TIME_IN_A_MESSAGE: Final = re.compile(
    r"retry after\s+([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{1,32}(?:Z|[+-][0-9]{2}:?[0-9]{2})?)",
    re.ASCII | re.IGNORECASE,
)
MAX_HEADER_CHARS: Final = 1_000


def retry_after(header: str | None, *, date: str | None, now: datetime) -> timedelta | None:
    """Return the wait that a Retry-After header asks for (RFC 9110 section 10.2.3).

    Args:
        header: its value; None: there is none.
        date: the Date header of the same answer: a date is meant by the server's own clock.
        now: our clock, aware UTC, for an answer without a usable Date.

    Returns:
        Whole seconds, rounded up, within [1 s, 1 h]; None: no time was named.
    """
    text = (header or "").strip()
    if len(text) > MAX_HEADER_CHARS:
        return None
    if SECONDS.fullmatch(text):
        return _within_bounds(float(text))
    at = _http_date(text)
    return None if at is None else _until(at, date=date, now=now)


def retry_after_in(message: str, *, date: str | None, now: datetime) -> timedelta | None:
    """Return the wait that an error's text asks for: "Retry after 2026-01-01T12:00:00.000Z".

    Gmail writes it into the message of a 429 (its guide "Resolve errors", 2026). Arguments and
    result are those of `retry_after`.
    """
    found = TIME_IN_A_MESSAGE.search(message)
    if found is None:
        return None
    try:
        at = datetime.fromisoformat(found.group(1).rstrip("."))
    except ValueError:
        return None
    return _until(at if at.tzinfo else at.replace(tzinfo=UTC), date=date, now=now)


def _until(at: datetime, *, date: str | None, now: datetime) -> timedelta:
    server_now = _http_date(date or "") or now
    return _within_bounds((at - server_now).total_seconds())


def _within_bounds(seconds: float) -> timedelta:
    bounded = min(max(seconds, SHORTEST.total_seconds()), LONGEST.total_seconds())
    return timedelta(seconds=math.ceil(bounded))


def _http_date(text: str) -> datetime | None:
    """Read any of the three formats of RFC 9110 section 5.6.7; one without a zone means UTC."""
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
