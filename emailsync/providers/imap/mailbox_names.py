"""Mailbox names: modified UTF-7 on the wire, text for people (RFC 9051 appendix A.1)."""

import base64
import binascii
import re
from typing import Final

_SHIFTED: Final = re.compile(r"&([^-&]*)-")  # without "&": linear in a name of nothing else


def decode_name(raw: bytes) -> str:
    """Return the name for people; what is no valid modified UTF-7 stays as it was sent.

    Raw 8-bit names, which some servers send, are read as UTF-8, else as latin-1.
    """
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("latin-1")
    try:
        return _SHIFTED.sub(_unshift, text)
    except (ValueError, binascii.Error):
        return text


def _unshift(match: re.Match[str]) -> str:
    if not match[1]:
        return "&"
    encoded = match[1].replace(",", "/")
    padding = "=" * (-len(encoded) % 4)
    return base64.b64decode(encoded + padding, validate=True).decode("utf-16-be")
