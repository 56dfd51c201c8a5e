"""The hot path: the compiled parser finds the parts, and anything doubtful is refused.

It gives up silently where it should not (a multipart without parts, charsets replaced, wrong
base64 raised for the whole message), so its result counts only where nothing had to be guessed.
Whoever calls this sends what is refused to `tolerant`. It never needs more than some
milliseconds for a message of 1 MiB, so it may run on the event loop.
"""

import re
import string
from collections.abc import Iterator
from typing import Final

import fast_mail_parser

from emailsync.domain.mail import ParsedMessage
from emailsync.mime.charsets import decode_strictly
from emailsync.mime.headers import HeaderBlock, content_fields, split_headers
from emailsync.mime.message import ADDRESS_FIELDS, assemble
from emailsync.mime.parts import Part, PartHeaders, boundary_of, describe_part, media_type
from emailsync.mime.structure import AFTER_DELIMITER, LINE_FEED, MAX_DEPTH, MAX_PARTS
from emailsync.mime.transfer import PLAIN

MAX_FAST_HEADER_BYTES: Final = 32 * 1024  #: our own header code is Python: about 1 ms for this
MAX_FAST_CONTAINERS: Final = 20  #: each costs a search of the whole message
MAX_FAST_TEXT_BYTES: Final = 512 * 1024  #: Python's slow codecs hold the GIL, 10 ms for this
MAX_FAST_ADDRESSES_CHARS: Final = 4 * 1024  #: about a hundred recipients
MAX_FAST_COPIED_BYTES: Final = 128 * 1024 * 1024  #: by embedded messages in embedded messages
_CHEAP_BYTES: Final = 256 * 1024  #: at most 30 ms by the compiled parser's depth limit of 256

_QUOTABLE: Final = string.printable.encode().translate(None, b"\x0b\x0c")
_USUAL_NAME: Final = re.compile(r"[A-Za-z0-9-]+")
#: Left by encoded words that were not decoded, and by 8-bit bytes that were taken for Latin-1.
_GUESSED: Final = re.compile("=\\?|\ufffd|[\u0080-\u009f]|[\u00c2-\u00f4][\u0080-\u00bf]")
QUOTED: Final = "quoted-printable"
_READABLE: Final = PLAIN | {"base64", QUOTED}


class Refused(Exception):
    """The compiled parser failed, or may have guessed; the text says why and quotes no mail."""


def parse_fast(raw: bytes) -> ParsedMessage:
    """Parse a well-formed message.

    Raises:
        Refused: the tolerant path must look at it. Nothing else is raised.
    """
    block = split_headers(raw, limit_bytes=MAX_FAST_HEADER_BYTES)
    if not block.is_clean:
        raise Refused("doubtful headers")
    if _may_be_costly(raw, block):
        raise Refused("costly")
    try:
        root = fast_mail_parser.parse_email_tree(raw)
        return assemble(block, _leaves(raw, block, root), decode_strictly, [])
    except (KeyboardInterrupt, SystemExit, Refused):
        raise
    except BaseException as error:  # a panic of the compiled code is no Exception
        raise Refused(type(error).__name__) from error


def _may_be_costly(raw: bytes, block: HeaderBlock) -> bool:
    """Say whether the work could exceed some milliseconds, by counting what multiplies it.

    Every embedded message is a copy of what it holds, so depth costs the whole message each time.
    A level has a Content-Type line, so there are no more than colons, which are counted quickly;
    and a delimiter line, or it says message/rfc822 (in any case, so the digits are counted).
    """
    addresses = sum(len(value) for name in ADDRESS_FIELDS for value in block.fields.get(name, ()))
    if addresses > MAX_FAST_ADDRESSES_CHARS:
        return True
    if len(raw) <= _CHEAP_BYTES or raw.count(b":") * len(raw) <= MAX_FAST_COPIED_BYTES:
        return False
    levels = raw.count(b"\n--") + raw.count(b"822")
    return levels * len(raw) > MAX_FAST_COPIED_BYTES


def _leaves(raw: bytes, block: HeaderBlock, root: fast_mail_parser.PyMimePart) -> Iterator[Part]:
    stack = [(root, 0, "text/plain")]
    leaves = containers = 0
    is_quoted, odd_bytes = False, _odd_bytes(raw[: block.body_start])
    while stack:
        node, depth, default_type = stack.pop()
        said = _content_fields(node) if depth else content_fields(block.fields)
        content = node.content
        if content is not None:
            leaves += 1
            headers = describe_part(said, default_type)
            if headers.content_type != node.content_type:
                raise Refused("a part of doubtful type")
            is_quoted |= headers.transfer_encoding == QUOTED
            odd_bytes += _odd_bytes(content) if headers.transfer_encoding in PLAIN else 0
            yield _leaf(raw, headers, content)
            continue
        containers += 1
        if media_type(said.get("content-type", "")) != node.content_type:
            raise Refused("a container of doubtful type")
        children = node.children
        if not children or depth >= MAX_DEPTH:
            raise Refused("a container without parts, or too deep")
        if leaves + len(children) > MAX_PARTS or containers > MAX_FAST_CONTAINERS:
            raise Refused("many parts")
        if _has_doubtful_delimiter(raw, boundary_of(said)):
            raise Refused("a line that is almost a delimiter")
        default = "message/rfc822" if node.content_type == "multipart/digest" else "text/plain"
        stack.extend((child, depth + 1, default) for child in reversed(children))
    if is_quoted and len(raw.translate(None, _QUOTABLE)) != odd_bytes:
        # The compiled parser drops such bytes from quoted-printable: all must be elsewhere.
        raise Refused("characters that are not printable")


def _odd_bytes(content: bytes) -> int:
    """Count what does not belong into quoted-printable, unless all of it is ASCII."""
    return 0 if content.isascii() else len(content.translate(None, _QUOTABLE))


def _content_fields(node: fast_mail_parser.PyMimePart) -> dict[str, str]:
    """Return a part's header; where a line of it is no field, the compiled parser loses text."""
    headers = node.headers
    for name, values in headers.items():
        if not values[0] or not _USUAL_NAME.fullmatch(name) or _GUESSED.search(values[0]):
            raise Refused("doubtful headers of a part")
    return {name.lower(): values[0] for name, values in headers.items()}


def _has_doubtful_delimiter(raw: bytes, boundary: str | None) -> bool:
    """Say whether the compiled parser may cut in the wrong place.

    It compares beginnings of lines only, and takes a closing delimiter for an opening one.
    """
    if boundary is None:
        return True
    delimiter = b"--" + boundary.encode("utf-8", "surrogatepass")
    position = raw.find(delimiter)
    is_open = is_closed = False
    while position >= 0:
        end = position + len(delimiter)
        follows = AFTER_DELIMITER.match(raw, end)
        if follows is None or is_closed or (position and raw[position - 1] != LINE_FEED):
            return True
        is_closed = follows[1] is not None
        if is_closed and not is_open:
            return True
        is_open = True
        position = raw.find(delimiter, end)
    return False


def _leaf(raw: bytes, headers: PartHeaders, content: bytes) -> Part:
    if headers.transfer_encoding not in _READABLE:
        raise Refused("a part of unknown encoding")
    is_text = headers.content_type in {"text/plain", "text/html"}
    if is_text and len(content) > MAX_FAST_TEXT_BYTES:
        raise Refused("a long text")
    if headers.transfer_encoding == QUOTED:
        is_file = headers.disposition is not None or headers.filename is not None or not is_text
        _check_quotable(raw, content, is_file=is_file)
    return Part(headers, content)


def _check_quotable(raw: bytes, content: bytes, *, is_file: bool) -> None:
    """Refuse quoted-printable whose line ends matter: the compiled parser makes CRLF of all.

    It ends the last line in any case, which matters only in a file.
    """
    if content.endswith(b"=") or (is_file and content.endswith(b"\r\n")):
        raise Refused("a soft line break at the end")
    if is_file or b"\n" not in content:
        returns, feeds, pairs = raw.count(b"\r"), raw.count(b"\n"), raw.count(b"\r\n")
        if returns != pairs or (is_file and pairs != feeds):
            raise Refused("mixed line breaks")
