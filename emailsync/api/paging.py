"""Cursors: where a list goes on, as a text that clients hand back and nobody looks into.

A cursor is the sort key of the last item, so pages neither repeat nor skip what stays where it is.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from emailsync.api.problems import Fault, Refused

Key = TypeVar("Key")
Row = TypeVar("Row")

ADVICE: Final = "Hand back a cursor as it was given, for the same list, or none to begin anew."


def encode(key: Sequence[Any]) -> str:
    """Return the cursor of a sort key."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).rstrip(b"=").decode()


def decode(cursor: str, key: TypeAdapter[Key], *, where: str = "query.cursor") -> Key:
    """Return the sort key of a cursor.

    Raises:
        Refused: it is none of ours.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return key.validate_json(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, ValidationError):
        raise Refused(422, ADVICE, faults=[Fault(where=where, detail="is no cursor")]) from None


def page(
    rows: Sequence[Row], limit: int, key_of: Callable[[Row], Sequence[Any]]
) -> tuple[Sequence[Row], str | None]:
    """Return the rows of a page and the cursor of the next one; `rows` has one more if there is."""
    if len(rows) <= limit:
        return rows, None
    shown = rows[:limit]
    return shown, encode(key_of(shown[-1]))
