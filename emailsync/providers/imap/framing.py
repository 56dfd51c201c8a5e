"""Cuts the bytes of an IMAP connection into complete responses. No sockets, no meaning.

Iterative, linear in bytes and in responses, and the same for any chunking. A response is a list
of parts in which text (even positions) and literals (odd positions) take turns: text comes
without its CRLF and without the `{n}` that announces the literal after it.
"""

import re
from collections.abc import Iterator
from typing import Final, cast

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""Of one list of UIDs. A SEARCH answer is one line: this is 6 million UIDs of 10 digits."""
MAX_OTHER_LINE_BYTES: Final = 1024 * 1024
"""Of any other line; literals do not count. They are read at one go: 20 ms, and 30 MB as words."""
MAX_LITERALS: Final = 1_000  #: of one response; a FETCH as we ask for it has one, a LIST one
COPIED_BYTES: Final = 4 * 1024 * 1024
"""A larger literal is handed on as the bytearray that it grew in, which nobody writes to any more:
making bytes of 50 MB would hold up the event loop for 60 ms."""
_MAX_DIGITS: Final = 12  #: of a literal's size; more is no size that anything could hold

_ANNOUNCED: Final = re.compile(rb"\{(\d+)\+?\}\Z")
_TEXT_ONLY: Final = re.compile(rb"\+|\S+ (?:OK|NO|BAD|BYE|PREAUTH)(?: |\Z)", re.IGNORECASE)
_UID_LIST: Final = re.compile(rb"\* (?:E?SEARCH|VANISHED) ", re.IGNORECASE)
_QUOTES: Final = re.compile(rb'\\.|"', re.DOTALL)


class FramingError(Exception):
    """The stream cannot be followed any further: the connection is of no more use."""


class LiteralTooLarge(FramingError):
    """A response announces more bytes than may be taken."""

    def __init__(self, limit_bytes: int, begun: bytes) -> None:
        super().__init__(f"a literal of more than {limit_bytes} bytes")
        self.begun = begun  #: how the response begins


class Framer:
    """Bytes in, complete responses out. After a `FramingError` it must not be fed again."""

    def __init__(self, *, max_literal_bytes: int, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_literal_bytes = max_literal_bytes
        self._max_line_bytes = max_line_bytes
        self._parts: list[bytes] = []  # of the response under way
        self._size = 0  # bytes of the response under way
        self._held = bytearray()  # the unfinished line or literal
        self._missing = 0  # bytes of the literal under way that are still to come

    @property
    def is_idle(self) -> bool:
        """Whether the stream stands between two responses."""
        return not (self._parts or self._held or self._missing)

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """Yield the responses that `data` completes. Must be consumed to its end.

        Raises:
            FramingError: a line, a literal or a response is longer than allowed.
        """
        position, end = 0, len(data)
        while position < end:
            if self._missing:
                position = self._take_literal(data, position)
                continue
            line, position = self._take_line(data, position)
            if line is None:
                return
            if line[-1:] == b"}" and self._begin_literal(line):
                continue
            if line or self._parts:  # some servers put an empty line between responses
                self._parts.append(line)
                response, self._parts, self._size = self._parts, [], 0
                yield response

    def _take_line(self, data: bytes, position: int) -> tuple[bytes | None, int]:
        """Return the finished line or None, and where to go on."""
        held = self._held
        if held[-1:] == b"\r" and data[position : position + 1] == b"\n":
            line, position = bytes(held[:-1]), position + 1
            held.clear()
        else:
            cut = data.find(b"\r\n", position)
            if cut < 0:
                held += data[position:]
                self._check_line(held)
                return None, len(data)
            line, position = data[position:cut], cut + 2
            if held:
                line = bytes(held + line)
                held.clear()
        self._check_line(line)
        return line, position

    def _check_line(self, line: bytes | bytearray) -> None:
        limit = self._max_line_bytes
        if len(line) > MAX_OTHER_LINE_BYTES and (self._parts or not _UID_LIST.match(line)):
            limit = min(limit, MAX_OTHER_LINE_BYTES)
        if len(line) > limit:
            raise FramingError(f"a line of more than {limit} bytes")

    def _begin_literal(self, line: bytes) -> bool:
        """Start the literal that the line announces, if it does.

        `{n}` is an announcement only where the grammar has strings: not in the free text of a
        status response (RFC 9051 section 9, resp-text), and not inside quotes.
        """
        brace = line.rfind(b"{")
        announced = _ANNOUNCED.match(line, max(brace, 0))
        if (
            announced is None
            or _TEXT_ONLY.match(self._parts[0] if self._parts else line)
            or _ends_quoted(line)
        ):
            return False
        digits = announced[1]
        if len(digits) > _MAX_DIGITS or int(digits) > self._max_literal_bytes:
            raise LiteralTooLarge(
                self._max_literal_bytes, self._parts[0] if self._parts else line[:brace]
            )
        size = int(digits)
        self._size += len(line) + size
        if (
            self._size > self._max_literal_bytes + self._max_line_bytes
            or len(self._parts) >= 2 * MAX_LITERALS
        ):
            raise FramingError("a response without end")
        self._parts.append(line[:brace].removesuffix(b"~"))  # literal8, RFC 3516
        self._missing = size
        if not size:
            self._parts.append(b"")
        return True

    def _take_literal(self, data: bytes, position: int) -> int:
        end = position + self._missing
        if not self._held and end <= len(data):  # nearly always: one copy
            self._parts.append(data[position:end])
            self._missing = 0
            return end
        # A growing bytearray is linear and holds no more than has really arrived.
        piece = data[position:end]
        self._held += piece
        self._missing -= len(piece)
        if not self._missing:
            large = len(self._held) > COPIED_BYTES
            self._parts.append(cast("bytes", self._held) if large else bytes(self._held))
            self._held = bytearray()  # not cleared: the large one is somebody else's now
        return position + len(piece)


def _ends_quoted(line: bytes) -> bool:
    quotes = line.count(b'"')
    if b'\\"' in line:
        quotes = _QUOTES.findall(line).count(b'"')
    return bool(quotes % 2)
