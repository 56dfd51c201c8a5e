"""The one way of text, JSON and dates into Postgres: what it cannot hold is replaced, not refused.

Postgres has no U+0000 in text and no lone surrogates in UTF-8, in jsonb neither. Mail has both.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""A day inside what `datetime` holds: every reader can still turn it into its own time zone."""

MAX_LINE_CHARS: Final = 10_000
"""Of a subject, a name, an id. RFC 5322 section 2.1.1 allows 998 a line; lists stay readable."""

_UNSTORABLE: Final = {0: REPLACEMENT} | dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT)


def pg_text(text: str) -> str:
    """Return `text` with U+0000 and lone surrogates replaced by U+FFFD."""
    if "\0" not in text:
        if text.isascii():
            return text
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.translate(_UNSTORABLE)
        return text
    return text.translate(_UNSTORABLE)


def pg_line(text: str | None) -> str | None:
    """Return `pg_text` of a text that is shown in lists, cut to a length that lists can bear."""
    return None if text is None else pg_text(text[:MAX_LINE_CHARS])


def pg_json(value: Any) -> str:
    """Return `value` as JSON that Postgres accepts for jsonb: keys and texts as `pg_text` has them.

    Keys that become equal by the replacement are one key; the last one wins, as in jsonb itself.
    """
    try:
        encoded = orjson.dumps(value)
    except orjson.JSONEncodeError:
        encoded = orjson.dumps(_scrubbed(value))  # a lone surrogate; anything else raises again
    if b"\\u0000" in encoded:
        encoded = orjson.dumps(_scrubbed(value))
    return encoded.decode()


def pg_time(moment: datetime | None) -> datetime | None:
    """Return the moment in UTC, clamped to what every reader can hold. A naive one is UTC."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # Comparing does not overflow, but converting the first and last hours of time does.
    return min(max(moment, EARLIEST), LATEST).astimezone(UTC)


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return pg_text(value)
    if isinstance(value, Mapping):
        return {_scrubbed(key): _scrubbed(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_scrubbed(item) for item in value]
    return value
