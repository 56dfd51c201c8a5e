"""One leaf of a message's MIME tree: what its headers say it is, and its decoded bytes.

Both parsing paths describe their parts here, from header text that is already decoded.
"""

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from emailsync.mime.charsets import decode_leniently

MAX_PARAMETERS_CHARS: Final = 16 * 1024  #: of one Content-* header; a file name needs 255
MAX_FILENAME_CHARS: Final = 255  #: what file systems take
_USUAL_CHARS: Final = 80  #: longer headers are not worth remembering
_MAX_CONTENT_ID_CHARS: Final = 998  #: a line, RFC 5322 section 2.1.1

_MEDIA_TYPE: Final = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)")
_PARAMETER: Final = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))', re.DOTALL)
_ESCAPED: Final = re.compile(r'\\(["\\])')  # only these: Windows senders leave paths unescaped
_CONTINUED: Final = re.compile(r"(.+?)\*(\d{1,4})?(\*?)")  # RFC 2231 section 3: name*0, name*0*
_EXTENDED: Final = re.compile(r"([^']*)'[^']*'(.*)", re.DOTALL)  # RFC 2231 section 4
#: Separators and controls name other files or lie about the extension (bidirectional overrides).
_UNSAFE_IN_FILENAME: Final = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]")
_BIDI: Final = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class PartHeaders:
    """What a part says of itself."""

    content_type: str  #: lower case; text/plain where the header is unreadable (RFC 2045 s5.2)
    charset: str | None
    filename: str | None
    disposition: str | None  #: lower case
    content_id: str | None
    transfer_encoding: str  #: lower case


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is no container, with its bytes."""

    headers: PartHeaders
    content: bytes
    is_intact: bool = True  #: all of it could be decoded


def describe_part(headers: Mapping[str, str], default_type: str) -> PartHeaders:
    """Read the Content-* headers; `headers` maps lower-case names to decoded values."""
    declared = headers.get("content-type")
    encoding = headers.get("content-transfer-encoding", "")
    disposition = headers.get("content-disposition")
    content_id = headers.get("content-id")
    if disposition is None and content_id is None and len(declared or "") <= _USUAL_CHARS:
        return _describe_usual(declared, encoding[:_USUAL_CHARS], None, None, default_type)
    return _describe(declared, encoding, disposition, content_id, default_type)


def _describe(
    declared: str | None,
    encoding: str,
    disposed: str | None,
    content_id: str | None,
    default_type: str,
) -> PartHeaders:
    content_type, parameters = default_type, dict[str, str]()
    if declared is not None:
        content_type, parameters = media_type(declared), parse_parameters(declared)
    disposition, filename = None, None
    if disposed is not None:
        disposition = disposed.partition(";")[0].strip().lower() or None
        filename = parse_parameters(disposed).get("filename")
    return PartHeaders(
        content_type=content_type,
        charset=parameters.get("charset", "").strip() or None,
        filename=clean_filename(filename or parameters.get("name") or ""),
        disposition=disposition,
        content_id=(content_id or "").strip().strip("<>").strip()[:_MAX_CONTENT_ID_CHARS] or None,
        transfer_encoding=encoding.partition(";")[0].strip().lower(),
    )


#: Nearly all text parts in the world share a few headers.
_describe_usual = lru_cache(maxsize=512)(_describe)


def boundary_of(headers: Mapping[str, str]) -> str | None:
    """Return the boundary of a container."""
    return parse_parameters(headers.get("content-type", "")).get("boundary", "").rstrip() or None


def media_type(declared: str) -> str:
    """Return the media type in lower case, text/plain for what is none."""
    match = _MEDIA_TYPE.match(declared)
    return match[1].lower() if match else "text/plain"


def parse_parameters(header: str) -> dict[str, str]:
    """Return the parameters of a Content-* header by lower-case name, RFC 2231 undone.

    The first of two equal names counts.
    """
    if ";" not in header:
        return {}
    plain: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    for name, quoted, bare in _PARAMETER.findall(header[:MAX_PARAMETERS_CHARS]):
        value = _ESCAPED.sub(r"\1", quoted) if quoted else bare.strip().lstrip('"')
        continued = _CONTINUED.fullmatch(name) if "*" in name else None
        if continued is None:
            plain.setdefault(name.lower(), value)
        else:
            number = int(continued[2] or 0)
            extended = bool(continued[3]) or continued[2] is None
            pieces.setdefault(continued[1].lower(), {}).setdefault(number, (value, extended))
    return plain | {name: _join_pieces(numbered) for name, numbered in pieces.items()}


def _join_pieces(numbered: Mapping[int, tuple[str, bool]]) -> str:
    """Join the pieces in the order of their numbers and undo the percent encoding."""
    charset: str | None = None
    joined: list[bytes] = []
    for position, (_, (value, extended)) in enumerate(sorted(numbered.items())):
        content = value
        if extended and position == 0 and (match := _EXTENDED.fullmatch(value)):
            charset, content = match[1] or None, match[2]
        raw = content.encode("utf-8", "surrogatepass")
        joined.append(urllib.parse.unquote_to_bytes(raw) if extended else raw)
    return decode_leniently(b"".join(joined), charset)


def clean_filename(name: str) -> str | None:
    """Return a name that names a file in no other folder, None when nothing is left of it."""
    if not name:
        return None
    safe = _UNSAFE_IN_FILENAME.sub("_", _BIDI.sub("", name)).strip()[:MAX_FILENAME_CHARS]
    return None if safe in {"", ".", ".."} else safe
