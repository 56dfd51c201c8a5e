"""The hot path: the compiled parser finds the parts, and anything doubtful is refused.

It gives up silently where it should not (a multipart without parts, charsets replaced, wrong
base64 raised for the whole message), so its result counts only where nothing had to be guessed.
Whoever calls this sends what is refused to `tolerant`. It never needs more than some
milliseconds for a message of 1 MiB, so it may run on the event loop.
"""

from collections.abc import Iterator
from typing import Final

import fast_mail_parser

from emailsync.domain.mail import ParsedMessage
from emailsync.mime.charsets import decode_strictly
from emailsync.mime.headers import split_headers
from emailsync.mime.message import assemble
from emailsync.mime.parts import Part, describe_part
from emailsync.mime.structure import MAX_DEPTH, MAX_PARTS
from emailsync.mime.transfer import PLAIN

MAX_FAST_HEADER_BYTES: Final = 32 * 1024  #: our own header code is Python: about 1 ms for this
MAX_FAST_TEXT_BYTES: Final = 512 * 1024  #: Python's slow codecs hold the GIL, 10 ms for this
_UNCOUNTED_BYTES: Final = 64 * 1024  #: too short to hold parts for more than 10 ms of work
_WINDOW_BYTES: Final = 1024 * 1024

_READABLE: Final = PLAIN | {"base64", "quoted-printable"}


class Refused(Exception):
    """The compiled parser failed, or may have guessed; the text says why and quotes no mail."""


def parse_fast(raw: bytes) -> ParsedMessage:
    """Parse a well-formed message.

    Raises:
        Refused: the tolerant path must look at it. Nothing else is raised.
    """
    block = split_headers(raw)
    if not block.is_clean or block.body_start > MAX_FAST_HEADER_BYTES:
        raise Refused("doubtful headers")
    if _may_have_many_parts(raw):
        raise Refused("many parts")
    try:
        root = fast_mail_parser.parse_email_tree(raw)
        return assemble(block.fields, _leaves(raw, root), decode_strictly, [])
    except (KeyboardInterrupt, SystemExit, Refused):
        raise
    except BaseException as error:  # a panic of the compiled code is no Exception
        raise Refused(type(error).__name__) from error


def _may_have_many_parts(raw: bytes) -> bool:
    """Count what looks like a delimiter, a window at a time: counting holds the GIL."""
    if len(raw) <= _UNCOUNTED_BYTES:
        return False
    windows = range(0, len(raw), _WINDOW_BYTES)
    return sum(raw.count(b"\n--", at, at + _WINDOW_BYTES) for at in windows) > 2 * MAX_PARTS


def _leaves(raw: bytes, root: fast_mail_parser.PyMimePart) -> Iterator[Part]:
    stack = [(root, 0, "text/plain")]
    count = 0
    while stack:
        node, depth, default_type = stack.pop()
        content = node.content
        if content is None:
            children = node.children
            if not children or depth >= MAX_DEPTH:
                raise Refused("a container without parts, or too deep")
            default = "message/rfc822" if node.content_type == "multipart/digest" else "text/plain"
            stack.extend((child, depth + 1, default) for child in reversed(children))
            continue
        count += 1
        if count > MAX_PARTS:
            raise Refused("many parts")
        yield _leaf(raw, node, content, default_type)


def _leaf(raw: bytes, node: fast_mail_parser.PyMimePart, content: bytes, default_type: str) -> Part:
    headers = describe_part(
        {name.lower(): values[0] for name, values in node.headers.items()}, default_type
    )
    if headers.content_type != node.content_type or headers.transfer_encoding not in _READABLE:
        raise Refused("a part of doubtful type or encoding")
    if headers.filename is not None and ("\ufffd" in headers.filename or "=?" in headers.filename):
        raise Refused("an undecoded file name")
    is_text = headers.content_type in {"text/plain", "text/html"}
    if is_text and len(content) > MAX_FAST_TEXT_BYTES:
        raise Refused("a long text")
    is_quoted = headers.transfer_encoding == "quoted-printable"
    if is_quoted and not is_text and raw.count(b"\n") != raw.count(b"\r\n"):
        raise Refused("bare line feeds, which the compiled parser changes")
    return Part(headers, content)
