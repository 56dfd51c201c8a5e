"""Refuses JSON of so many values that to read it would hold up everybody else.

Text is read at a gigabyte a second, values at some millions: 31 MB of empty lists take two seconds
and a gigabyte of memory, and no thread helps, since orjson and the standard library keep the
interpreter's lock. So the values are counted first, a piece at a time, letting others go on.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import anyio.lowlevel

from emailsync.providers.http_messages import AnswerTooLarge

MOST_VALUES: Final = 200_000
"""Of one answer: 200 messages with 30 recipients each are a fifth of it."""
LIGHT_BYTES: Final = 1024 * 1024  #: cannot hold more than takes some 20 ms to read
PIECE_BYTES: Final = 64 * 1024


async def refuse_heavy(body: bytes, *, kind: str, server: str) -> None:
    """Return if the answer is light enough to be read at once.

    Args:
        body: all of it, decoded.
        kind: the Content-Type header; only JSON is read, and what has parts, which may be JSON.
        server: its host, for messages.

    Raises:
        AnswerTooLarge: it has too many values; asking for less may help.
    """
    is_json = "json" in kind.lower()
    if len(body) <= LIGHT_BYTES or not (is_json or "multipart" in kind.lower()):
        return
    if await _is_light(_marks(_pieces(body))):
        return
    # Text may be full of commas. Of parts each has strings of its own, and ours have none so full.
    if not is_json or not await _is_light(_marks_outside_strings(_pieces(body))):
        raise AnswerTooLarge(f"{server}: the answer has more than {MOST_VALUES} values")


async def _is_light(marks: Iterator[int]) -> bool:
    found = 0
    for some in marks:
        found += some
        if found > MOST_VALUES:
            return False
        await anyio.lowlevel.checkpoint()
    return True


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES))


def _marks(pieces: Iterable[bytes]) -> Iterator[int]:
    """Yield for each piece how many of the signs it has of which one comes before any value."""
    return (sum(map(piece.count, (b",", b"[", b"{"))) for piece in pieces)


def _marks_outside_strings(pieces: Iterable[bytes]) -> Iterator[int]:
    """Yield the same without what is text."""
    is_text, carried = 0, b""
    for piece in pieces:
        plain = (carried + piece).replace(b"\\\\", b"")
        carried = b"\\" if plain.endswith(b"\\") else b""
        parts = plain.replace(b'\\"', b"").split(b'"')
        yield sum(map(b'"'.join(parts[is_text::2]).count, (b",", b"[", b"{")))
        is_text ^= (len(parts) - 1) % 2
