"""The path that takes any bytes: standard library only, every limit kept, nothing raised.

It runs in worker processes, where a bug of a codec or a cleverly built message costs nothing but
the worker. What cannot be read is named in `parse_error`; the rest of the message is filled in.
"""

from typing import Final

from emailsync.domain.mail import ParsedMessage
from emailsync.mime.charsets import Detective
from emailsync.mime.headers import split_headers
from emailsync.mime.message import assemble
from emailsync.mime.structure import read_parts

#: What is read of a header in the daemon itself, when no worker survived the message.
MAX_HEADERS_ONLY_BYTES: Final = 32 * 1024


def parse_tolerantly(raw: bytes) -> ParsedMessage:
    """Parse whatever these bytes are."""
    try:
        raw = with_line_feeds(raw)
        block = split_headers(raw)
        problems = [block.problem] if block.problem else []
        parts = read_parts(raw, block, problems)
        return assemble(block, parts, Detective().decode, problems)
    except Exception as error:  # noqa: BLE001 - a message must never fail its page
        return parse_headers_only(raw, f"body not read: {type(error).__name__}")


def parse_headers_only(raw: bytes, problem: str) -> ParsedMessage:
    """Read what the bounded beginning of the header says; for messages no parser survives."""
    try:
        block = split_headers(raw, limit_bytes=MAX_HEADERS_ONLY_BYTES)
        return assemble(block, (), Detective().decode, [problem])
    except Exception:  # noqa: BLE001 - the last resort may not fail either
        return ParsedMessage(parse_error=problem)


def with_line_feeds(raw: bytes) -> bytes:
    """Return the message with line feeds, where its lines end in bare carriage returns only."""
    return raw.replace(b"\r", b"\n") if b"\r" in raw and b"\n" not in raw else raw
