"""Strings on their way to the server: quoted where that is allowed, else as a literal."""

import re
from typing import Final

_QUOTABLE: Final = re.compile(rb"[\x20-\x7e]*")
_FORBIDDEN: Final = re.compile(rb"[\x00\r\n]")
_SPECIAL: Final = re.compile(rb'(["\\])')


class Literal(bytes):
    """A string that is announced by its length and sent as it is; prints as its announcement."""

    def __str__(self) -> str:
        return f"{{{len(self)}}}"

    __repr__ = __str__


def wire_string(raw: bytes) -> str | Literal:
    """Return `raw` as an argument of a command.

    Raises:
        ValueError: `raw` holds CR, LF or NUL. A literal could carry the first two, but nothing
            honest asks for them, and a command must not be able to hold another one.
    """
    if _FORBIDDEN.search(raw):
        raise ValueError("CR, LF and NUL are not sent in a name or a password")
    if not _QUOTABLE.fullmatch(raw):
        return Literal(raw)
    return '"' + _SPECIAL.sub(rb"\\\1", raw).decode("ascii") + '"'
