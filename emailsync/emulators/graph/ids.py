"""Opaque ids as Exchange makes them: long, case-sensitive, and for messages of two kinds.

A message's immutable id stays; its regular id names the message where it lies now, so a move gives
it another one (learn.microsoft.com/graph/outlook-immutable-id). Folders have one constant id.
"""

import base64
import binascii
import struct
from dataclasses import dataclass
from enum import IntEnum

_LAYOUT = struct.Struct(">16s8sBQQ")
_STORE = bytes.fromhex("4a2dfe83b1a14c0eb2cf5d1a9be7601c"[:16])  # says nothing, as theirs do


class IdKind(IntEnum):
    """What an id is the name of."""

    FOLDER = 1
    MESSAGE = 2  #: immutable
    REGULAR_MESSAGE = 3
    ATTACHMENT = 4


_PREFIX = {
    IdKind.FOLDER: "AQMkA",
    IdKind.MESSAGE: "AAkAL",
    IdKind.REGULAR_MESSAGE: "AAMkA",
    IdKind.ATTACHMENT: "AAMkB",
}


@dataclass(frozen=True, slots=True)
class ItemId:
    """An id taken apart."""

    mailbox: bytes  #: 16 bytes
    kind: IdKind
    number: int  #: of the folder or message in its mailbox
    detail: int = 0  #: the moves of a regular id, the position of an attachment

    def __str__(self) -> str:
        """Return the id as clients see it."""
        packed = _LAYOUT.pack(self.mailbox, _STORE, self.kind, self.number, self.detail)
        return _PREFIX[self.kind] + base64.urlsafe_b64encode(packed).decode()


def parse(text: str) -> ItemId:
    """Return the id taken apart.

    Raises:
        ValueError: it was never an id of ours.
    """
    try:
        packed = base64.b64decode(text[5:], altchars=b"-_", validate=True)
        mailbox, store, kind, number, detail = _LAYOUT.unpack(packed)
        found = ItemId(mailbox, IdKind(kind), number, detail)
    except (binascii.Error, struct.error, UnicodeEncodeError, ValueError) as error:
        raise ValueError(f"malformed id {text!r}") from error
    if store != _STORE or text[:5] != _PREFIX[found.kind]:
        raise ValueError(f"malformed id {text!r}")
    return found
