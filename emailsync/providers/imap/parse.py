"""A framed response -> a typed value. Pure; never raises: the unreadable is `Ignored`.

What is read is RFC 9051 section 7 as far as a reading client needs it, with QRESYNC (RFC 7162),
ESEARCH (RFC 4731), LIST-STATUS (RFC 5819), ENABLE (RFC 5161) and ID (RFC 2971).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from emailsync.providers.imap.answers import (
    Answer,
    Capability,
    Code,
    Condition,
    Continuation,
    Enabled,
    ESearch,
    Exists,
    Expunged,
    Id,
    Ignored,
    Mailbox,
    Search,
    Status,
    Vanished,
)
from emailsync.providers.imap.fetch_parsing import parse_fetch, unquoted

_NUMBERED: Final = re.compile(rb"\* (\d{1,10}) +(FETCH +\(|EXISTS|EXPUNGE)", re.IGNORECASE)
_UNTAGGED: Final = re.compile(rb"\* ([A-Za-z0-9]+)(?: |\Z)")
_CONDITION: Final = re.compile(rb"(\S+) +(OK|NO|BAD|BYE|PREAUTH)(?: +|\Z)", re.IGNORECASE)
_CODE: Final = re.compile(r"\[([^\] ]+)(?: ([^\]]*))?\] ?")
_TOKEN: Final = re.compile(rb' *(?:(\()|(\))|("(?:[^"\\]|\\.)*")|([^ ()"]+))')
_ESEARCH_TAG: Final = re.compile(rb' *\(TAG "?([^")]*)"?\)', re.IGNORECASE)
_NUMBER: Final = re.compile(rb"\d{1,19}")

Parser = Callable[[Sequence[bytes], int], Answer | None]


def parse(parts: Sequence[bytes]) -> Answer:
    """Read one response as framing.py gives it."""
    head = parts[0]
    numbered = _NUMBERED.match(head)
    if numbered is not None:
        return _numbered(numbered, parts)
    if head.startswith(b"+"):
        return Continuation(head[1:].strip().decode("latin-1"))
    condition = _CONDITION.match(head)
    if condition is not None:
        return _condition(condition, head)
    untagged = _UNTAGGED.match(head)
    if untagged is not None:
        parser = _PARSERS.get(untagged[1].upper())
        answer = parser(parts, untagged.end()) if parser is not None else None
        if answer is not None:
            return answer
    return Ignored(head[:40])


def _numbered(match: re.Match[bytes], parts: Sequence[bytes]) -> Answer:
    number, kind = int(match[1]), match[2].upper()
    if kind == b"EXISTS":
        return Exists(number)
    if kind == b"EXPUNGE":
        return Expunged(number)
    return parse_fetch(number, parts, match.end())


def _condition(match: re.Match[bytes], head: bytes) -> Condition:
    tag = match[1].decode("latin-1")
    text = head[match.end() :].decode("latin-1")
    code = _CODE.match(text)
    return Condition(
        match[2].decode().upper(),
        text[code.end() if code else 0 :].strip(),
        Code(code[1].upper(), (code[2] or "").strip()) if code else None,
        None if tag == "*" else tag,
    )


def _words(parts: Sequence[bytes], position: int) -> frozenset[str]:
    return frozenset(parts[0][position:].decode("latin-1").upper().split())


def _capability(parts: Sequence[bytes], position: int) -> Answer | None:
    return Capability(_words(parts, position))


def _enabled(parts: Sequence[bytes], position: int) -> Answer | None:
    return Enabled(_words(parts, position))


def _search(parts: Sequence[bytes], position: int) -> Answer | None:
    numbers = parts[0][position:]
    extension = numbers.find(b"(")  # RFC 7162 section 3.1.5: "(MODSEQ n)" may follow
    return Search(numbers if extension < 0 else numbers[:extension])


def _esearch(parts: Sequence[bytes], position: int) -> Answer | None:
    text = parts[0]
    tag = _ESEARCH_TAG.match(text, position)
    words = text[tag.end() if tag else position :].split()
    if words and words[0].upper() == b"UID":
        del words[0]
    items = dict(zip((word.upper() for word in words[::2]), words[1::2], strict=False))
    return ESearch(
        tag[1].decode("latin-1") if tag else None,
        items.get(b"ALL", b""),
        _number(items.get(b"COUNT")),
    )


def _vanished(parts: Sequence[bytes], position: int) -> Answer | None:
    text = parts[0][position:].decode("latin-1").strip()
    earlier = text[:9].upper() == "(EARLIER)"
    return Vanished(text[9:].strip() if earlier else text, earlier)


def _list(parts: Sequence[bytes], position: int) -> Answer | None:
    tokens = _tokens(parts, position)
    if next(tokens, None) != b"(":
        return None
    flags = set()
    for token in tokens:
        if token == b")":
            break
        flags.add(token.decode("latin-1").lower())
    delimiter, name = next(tokens, None), next(tokens, None)
    if delimiter is None or name is None:
        return None
    separator = None if delimiter.upper() == b"NIL" else _string(delimiter).decode("latin-1")
    return Mailbox(frozenset(flags), separator or None, _string(name))


def _status(parts: Sequence[bytes], position: int) -> Answer | None:
    tokens = _tokens(parts, position)
    name = next(tokens, None)
    if name is None or next(tokens, None) != b"(":
        return None
    items: dict[str, int] = {}
    for key in tokens:
        value = _number(next(tokens, b""))
        if value is not None:
            items[key.decode("latin-1").upper()] = value
    return Status(_string(name), items)


def _id(parts: Sequence[bytes], position: int) -> Answer | None:
    words = [_string(token) for token in _tokens(parts, position) if token not in (b"(", b")")]
    texts = [word.decode("latin-1") for word in words]
    return Id(dict(zip((key.lower() for key in texts[::2]), texts[1::2], strict=False)))


def _tokens(parts: Sequence[bytes], position: int) -> Iterator[bytes]:
    """Yield parentheses, atoms, quoted strings with their quotes, and literals as quoted ones."""
    for at in range(0, len(parts), 2):
        text = parts[at]
        while (token := _TOKEN.match(text, position)) is not None:
            yield token[0].lstrip(b" ")
            position = token.end()
        if at + 1 < len(parts):
            yield _Literal(parts[at + 1])
        position = 0


class _Literal(bytes):
    """A string that came as a literal: its quotes and backslashes are its own."""


def _string(token: bytes) -> bytes:
    if isinstance(token, _Literal) or token[:1] != b'"':
        return bytes(token)
    return unquoted(token)


def _number(token: bytes | None) -> int | None:
    return int(token) if token is not None and _NUMBER.fullmatch(token) else None


_PARSERS: Final[Mapping[bytes, Parser]] = {
    b"CAPABILITY": _capability,
    b"ENABLED": _enabled,
    b"ESEARCH": _esearch,
    b"ID": _id,
    b"LIST": _list,
    b"SEARCH": _search,
    b"STATUS": _status,
    b"VANISHED": _vanished,
}
