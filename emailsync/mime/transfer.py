"""Content-Transfer-Encoding undone (RFC 2045 section 6), forgiving what mail really contains.

The compiled parser refuses a whole message for one wrong character; here a broken part costs
only itself. Everything is linear in its input.
"""

import binascii
import re
import string
from typing import Final

_BASE64: Final = string.ascii_letters.encode() + string.digits.encode() + b"+/="
_OUTSIDE_BASE64: Final = bytes(set(range(256)) - set(_BASE64))
_PADDING: Final = re.compile(rb"=+")
#: The look-behind lets a match begin only where the blanks begin; else long runs cost their square.
_TRAILING_BLANKS: Final = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
#: Written by senders who do not quote what they should; left to itself, a2b_qp makes one of two.
_LITERAL_EQUALS: Final = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n|\Z)")
_UU_FIRST_LINE: Final = re.compile(rb"^begin(?:-base64)? [0-7]{3,4} .*\n", re.MULTILINE)

UUENCODE: Final = frozenset({"x-uuencode", "x-uue", "uuencode", "uue"})
PLAIN: Final = frozenset({"", "7bit", "8bit", "binary"})


def decode_transfer(content: bytes, encoding: str) -> tuple[bytes, bool]:
    """Return the decoded bytes, and whether all of them could be decoded."""
    if encoding == "base64":
        return decode_base64(content)
    if encoding == "quoted-printable":
        without_blanks = _TRAILING_BLANKS.sub(b"", content)  # section 6.7, rule 3
        return binascii.a2b_qp(_LITERAL_EQUALS.sub(b"=3D", without_blanks)), True
    if encoding in UUENCODE:
        return _decode_uuencode(content)
    return content, encoding in PLAIN


def decode_base64(content: bytes) -> tuple[bytes, bool]:
    """Decode base64 that may lack padding, or be several padded texts one after the other."""
    symbols = content.translate(None, _OUTSIDE_BASE64)
    try:
        return binascii.a2b_base64(symbols, strict_mode=True), True
    except binascii.Error:
        pass
    intact = True
    decoded: list[bytes] = []
    for run in _PADDING.split(symbols):
        if len(run) % 4 == 1:  # six bits are no byte
            intact = False
            run = run[:-1]  # noqa: PLW2901 - what is left of this run
        decoded.append(binascii.a2b_base64(run + b"=" * (-len(run) % 4)))
    return b"".join(decoded), intact


def _decode_uuencode(content: bytes) -> tuple[bytes, bool]:
    begin = _UU_FIRST_LINE.search(content)
    if begin is None:
        return content, False
    decoded: list[bytes] = []
    for line in content[begin.end() :].splitlines():
        if line.strip() == b"end":
            return b"".join(decoded), True
        try:
            decoded.append(binascii.a2b_uu(line))
        except binascii.Error:
            return b"".join(decoded), False
    return b"".join(decoded), False
