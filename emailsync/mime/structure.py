"""The MIME tree by the standard library's means: bytes to leaves, bounded in depth and in parts.

`email.feedparser` is not used: it recurses (1,000 nested multiparts end it), works line by line on
text, and gives no bytes of an embedded message. Here every container is cut at its boundaries,
from the outside in, with an explicit stack; an inner part that never ends, ends with its parent.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from emailsync.mime.headers import HeaderBlock, content_fields, split_headers
from emailsync.mime.parts import Part, PartHeaders, boundary_of, describe_part
from emailsync.mime.transfer import decode_transfer

MAX_DEPTH: Final = 50  #: containers in containers; real mail stays below 10
MAX_PARTS: Final = 1_000  #: leaves; a hundred attachments are rare already

LINE_FEED: Final = 0x0A
_CARRIAGE_RETURN: Final = 0x0D
AFTER_DELIMITER: Final = re.compile(rb"(--)?[ \t]*(?:\r?\n|\Z)")  # RFC 2046 section 5.1.1
_LIKELY_DELIMITER: Final = re.compile(rb"^--([^\s-]\S{0,69})[ \t]*\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Entity:
    start: int
    end: int
    depth: int
    default_type: str


def read_parts(raw: bytes, message: HeaderBlock, problems: list[str]) -> Iterator[Part]:
    """Yield the leaves of a message in their order; what is left out is noted in `problems`.

    Args:
        raw: the whole message.
        message: its own headers, split already.
        problems: receives what could not be read.
    """
    count = 0
    root = _Entity(0, len(raw), 0, "text/plain")
    stack: list[tuple[_Entity, HeaderBlock | None]] = [(root, message)]
    while stack:
        entity, block = stack.pop()
        block = block or split_headers(raw, entity.start, entity.end)
        said = content_fields(block.fields)
        headers = describe_part(said, entity.default_type)
        if headers.content_type.startswith("multipart/"):
            if entity is root and block.body_start >= entity.end:
                return  # no body at all, as where only the headers were fetched: nothing is lost
            if entity.depth >= MAX_DEPTH:
                problems.append(f"parts nested deeper than {MAX_DEPTH}")
            elif children := _children(
                raw, entity, block.body_start, headers.content_type, boundary_of(said)
            ):
                stack.extend((child, None) for child in reversed(children))
                continue
            else:
                problems.append("a multipart without its boundary")
                headers = replace(headers, content_type="text/plain")
        if count >= MAX_PARTS:
            problems.append(f"more than {MAX_PARTS} parts")
            return
        count += 1
        yield _leaf(raw[block.body_start : entity.end], headers)


def _leaf(content: bytes, headers: PartHeaders) -> Part:
    decoded, intact = decode_transfer(content, headers.transfer_encoding)
    return Part(headers, decoded, intact)


def _children(
    raw: bytes, entity: _Entity, body_start: int, content_type: str, boundary: str | None
) -> list[_Entity]:
    """Return the parts of a container; none when it has no delimiter line."""
    named = boundary.encode("utf-8", "surrogatepass") if boundary else None
    delimiter = named or _guess_boundary(raw, body_start, entity.end)
    default = "message/rfc822" if content_type == "multipart/digest" else "text/plain"
    depth = entity.depth + 1
    spans = _between_delimiters(raw, body_start, entity.end, delimiter) if delimiter else []
    return [_Entity(start, end, depth, default) for start, end in spans[: MAX_PARTS + 1]]


def _between_delimiters(raw: bytes, start: int, end: int, boundary: bytes) -> list[tuple[int, int]]:
    """Return where the parts lie; the line break before a delimiter belongs to the delimiter."""
    delimiter = b"--" + boundary
    spans: list[tuple[int, int]] = []
    part_start: int | None = None
    position = raw.find(delimiter, start, end)
    while position >= 0 and len(spans) <= MAX_PARTS:
        follows = None
        if position == start or raw[position - 1] == LINE_FEED:
            follows = AFTER_DELIMITER.match(raw, position + len(delimiter), end)
        if follows is not None:
            if part_start is not None:
                spans.append((part_start, _without_line_break(raw, part_start, position)))
            part_start = follows.end()
            if follows[1]:
                return spans
        position = raw.find(delimiter, position + len(delimiter), end)
    if part_start is not None:  # the final delimiter is missing
        spans.append((part_start, end))
    return spans


def _without_line_break(raw: bytes, start: int, end: int) -> int:
    if end - 1 >= start and raw[end - 1] == LINE_FEED:
        end -= 1
        if end - 1 >= start and raw[end - 1] == _CARRIAGE_RETURN:
            end -= 1
    return end


def _guess_boundary(raw: bytes, start: int, end: int) -> bytes | None:
    """Return what looks like the boundary that the header forgot to name."""
    match = _LIKELY_DELIMITER.search(raw, start, end)
    return match[1] if match else None
