"""The header block: bytes to fields, and a field's bytes to text.

Both parsing paths read headers here, so they cannot disagree on them. Everything is linear in
its input, and the input is cut at MAX_HEADER_BYTES first. Nothing raises.
"""

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from emailsync.mime.charsets import decode_leniently
from emailsync.mime.transfer import decode_base64

MAX_HEADER_BYTES: Final = 256 * 1024  #: Postfix stops at 100 KiB (header_size_limit), Exim at 1 MiB

Fields = Mapping[str, Sequence[str]]
"""Lower-case name to unfolded values, in their order; one character stands for one byte."""

BLANKS: Final = " \t\r\n"  #: what strip() removes of raw text: by default it takes 8-bit bytes too

_FOLD: Final = re.compile(r"\n[ \t]+")
_NAME: Final = re.compile(r"[!-9;-~]+")  # RFC 5322 section 2.2
_USUAL_NAME_CHARS: Final = 76  #: longer names are not worth remembering
_CONTENT: Final = (
    "content-type", "content-transfer-encoding", "content-disposition", "content-id",
)  # fmt: skip
_ENVELOPE: Final = ("From ", ">From ")  # left behind by mbox files
_ENCODED_WORD: Final = re.compile(  # RFC 2047 section 2, RFC 2231 section 5; spaces are tolerated
    r"=\?([A-Za-z0-9_.:()+-]{1,40})(?:\*[A-Za-z0-9-]*)?\?([bBqQ])\?([^?]*)\?="
)
_USUAL_CHARS: Final = 200  #: longer values are not worth remembering
_LINE_BREAKS: Final = re.compile(r"[\r\n]+")


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """The fields of an entity, and where its body begins."""

    fields: Fields
    body_start: int
    is_clean: bool  #: every line was a field or a fold, and line breaks were not mixed
    is_plain: bool = False  #: nothing in it needs decoding
    problem: str | None = None


def split_headers(
    raw: bytes, start: int = 0, end: int | None = None, *, limit_bytes: int = MAX_HEADER_BYTES
) -> HeaderBlock:
    """Split the entity at raw[start:end] into its fields and its body.

    The body begins after the first empty line, or at the first line that cannot be a header
    field: some senders forget the empty line (the standard library does the same). No more than
    `limit_bytes` of the fields are read; then it is not clean.
    """
    end = len(raw) if end is None else end
    if raw.startswith((b"\n", b"\r\n"), start, end):
        return HeaderBlock({}, raw.index(b"\n", start) + 1, is_clean=True)
    block_end, body_start = _end_of_headers(raw, start, end)
    cut = min(block_end, start + limit_bytes)
    problem = f"headers over {limit_bytes // 1024} KiB" if cut < block_end else None

    block = raw[start:cut]
    text = block.replace(b"\r\n", b"\n").decode("latin-1")
    fields, stray, well_written = _fields(text)
    if stray is not None and problem is None:
        body_start = start + _offset_of_line(block, stray)
    pairs = len(block) - len(text)
    one_kind_of_break = "\r" not in text and pairs in (0, text.count("\n"))
    clean = well_written and problem is None and one_kind_of_break and "\0" not in text
    plain = "=?" not in text and text.isascii()
    return HeaderBlock(fields, body_start, is_clean=clean, is_plain=plain, problem=problem)


def _end_of_headers(raw: bytes, start: int, end: int) -> tuple[int, int]:
    """Return where the last header line ends, and where the body begins: after an empty line."""
    with_return = raw.find(b"\n\r\n", start, end)
    without = raw.find(b"\n\n", start, with_return if with_return >= 0 else end)
    if without >= 0:
        return without + 1, without + 2
    if with_return >= 0:
        return with_return + 1, with_return + 3
    return end, end


def _fields(text: str) -> tuple[dict[str, list[str]], int | None, bool]:
    """Read the fields up to the first line that is none.

    Returns:
        The fields, that line's number from 0, and whether all names were written as they should.
    """
    fields: dict[str, list[str]] = {}
    well_written = True
    for number, line in enumerate(_FOLD.sub(" ", text).split("\n")):
        written, colon, value = line.partition(":")
        name = _usual_name(written) if colon and len(written) <= _USUAL_NAME_CHARS else None
        if name is None and line.strip(BLANKS):
            well_written = False
            name = _odd_name(written) if colon else None
            if name is None and not line.startswith(_ENVELOPE):
                return fields, number, False
        if name is not None:
            fields.setdefault(name, []).append(value.strip(BLANKS))
    return fields, None, well_written


@lru_cache(maxsize=1024)
def _usual_name(written: str) -> str | None:
    """Return the name in lower case, if it is one: all mail shares some hundred."""
    return written.lower() if _NAME.fullmatch(written) else None


def _odd_name(written: str) -> str | None:
    """Return the name of a field that is very long, or has blanks before its colon."""
    name = written.rstrip(" \t")
    return name.lower() if _NAME.fullmatch(name) else None


def _offset_of_line(block: bytes, unfolded_number: int) -> int:
    """Return where in the block the line begins that has this number once folds are undone."""
    offset = number = 0
    for line in block.split(b"\n"):
        if offset and not line.startswith((b" ", b"\t")):
            number += 1
        if number == unfolded_number:
            return offset
        offset += len(line) + 1
    return offset


def content_fields(fields: Fields) -> dict[str, str]:
    """Return what an entity's header says of its content, decoded; the first of each name."""
    return {name: decode_text(fields[name][0]) for name in _CONTENT if name in fields}


def first(fields: Fields, name: str) -> str | None:
    """Return the value of the first field of that name."""
    values = fields.get(name)
    return values[0] if values else None


def decoded_fields(block: HeaderBlock) -> Fields:
    """Return all fields as text."""
    if block.is_plain:
        return block.fields
    decoded = dict(block.fields)
    for name, values in block.fields.items():
        for value in values:
            if "=?" in value or not value.isascii():
                decoded[name] = [decode_text(each) for each in values]
                break
    return decoded


def decode_text(value: str) -> str:
    """Return a field's value as text: encoded words decoded, raw 8-bit bytes made sense of.

    Adjacent words of one charset are decoded together, since senders split characters between
    them (forbidden by RFC 2047 section 5, and common).
    """
    if "=?" not in value:
        return _raw_text(value)
    return _decode_usual(value) if len(value) <= _USUAL_CHARS else _decode_words(value)


def _decode_words(value: str) -> str:
    text: list[str] = []
    charset, run = "", b""  # of the encoded words since the last text between them
    position = 0
    for word in _ENCODED_WORD.finditer(value):
        content = _encoded_word_bytes(word[2], word[3].encode("latin-1"))
        if content is None:
            continue
        between = value[position : word.start()]
        position = word.end()
        declared = word[1].lower()
        follows = bool(charset) and not between.strip(BLANKS)
        if not follows or declared != charset:
            text.append(decode_leniently(run, charset or None))
            run = b""
        if not follows:
            text.append(_raw_text(between))
        charset, run = declared, run + content
    text += [decode_leniently(run, charset or None), _raw_text(value[position:])]
    return _LINE_BREAKS.sub(" ", "".join(text)).strip()


#: The same people write again and again, and answers repeat the subject.
_decode_usual = lru_cache(maxsize=1024)(_decode_words)


def _raw_text(value: str) -> str:
    return value if value.isascii() else decode_leniently(value.encode("latin-1"), None)


def _encoded_word_bytes(encoding: str, text: bytes) -> bytes | None:
    """Return the bytes an encoded word stands for, None when it stands for nothing readable."""
    if encoding in "qQ":
        return binascii.a2b_qp(text, header=True)
    content, _ = decode_base64(text)
    return content if content or not text.strip() else None
