"""Address headers (RFC 5322 section 3.4, and the lists that real senders write).

The structure is found first and names are decoded after, so a comma inside an encoded name
separates nothing. One pass over tokens, linear whatever comes.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from emailsync.domain.mail import Address
from emailsync.mime.headers import BLANKS, decode_text

MAX_ADDRESSES: Final = 2_000  #: a header; big lists use a list server, longer ones are attacks

#: A mailbox that needs no tokeniser, and its comma: nearly all there are.
_SIMPLE: Final = re.compile(
    r'\s*(?:(?:"([^"\\]*)"|([^"\\()<>,:;@]*))\s*<([^<>()",:;\s\\]+)>'
    r'|([^\s"\\()<>,:;@]+@[^\s"\\()<>,:;@]+))\s*(?:,|\Z)',
    re.ASCII,  # here and below one character stands for one byte of raw text
)
_TOKEN: Final = re.compile(
    r"=\?[^?\s]{1,60}\?[bBqQ]\?[^?]*\?="  # an encoded word; some senders leave commas in it
    r'|"[^"\\]*(?:\\.[^"\\]*)*"?'
    r"|<[^<>]*>|<[^<>,;\s]*"
    r"|[,;][,;\s]*|[():]"
    r"|[^\s\"(),:;<>]+"
    r"|>",
    re.ASCII | re.DOTALL,
)
_USUAL_CHARS: Final = 200  #: longer fields are not worth remembering
_SEPARATORS: Final = frozenset(",;")
_GROUP_START: Final = frozenset(":")
_BRACKETS: Final = re.compile(r'[()"]')
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_ROUTE: Final = re.compile(r"^@[^:]*:")  # <@relay,@relay:local@domain>, RFC 5322 section 4.4


def parse_addresses(values: Iterable[str]) -> tuple[list[Address], bool]:
    """Return the addresses of all fields of one name, groups flattened; and whether all fit."""
    found: list[Address] = []
    for value in values:
        usual = len(value) <= _USUAL_CHARS
        for address in _usual_mailboxes(value) if usual else _mailboxes(value):
            if len(found) >= MAX_ADDRESSES:
                return found, False
            found.append(address)
    return found, True


def _mailboxes(value: str) -> Iterator[Address]:
    position = 0
    while simple := _SIMPLE.match(value, position):
        quoted, plain, angle, bare = simple.groups()
        yield Address(
            decode_text((quoted or plain or "").strip(BLANKS)), decode_text(angle or bare)
        )
        position = simple.end()
    if position < len(value):
        yield from _difficult_mailboxes(value[position:])


@lru_cache(maxsize=2048)
def _usual_mailboxes(value: str) -> tuple[Address, ...]:
    """Remember them: the same people write to the same people again and again."""
    return tuple(_mailboxes(value))


def _difficult_mailboxes(value: str) -> Iterator[Address]:
    mailbox = _Mailbox()
    for token in _tokens(value):
        if token[0] in _SEPARATORS:
            yield from mailbox.finish()
            mailbox = _Mailbox()
        elif token in _GROUP_START and mailbox.angle is None:
            mailbox = _Mailbox()  # what came before is a group's name
        else:
            mailbox.take(token)
    yield from mailbox.finish()


def _tokens(value: str) -> Iterator[str]:
    """Yield words, separators and whole comments; what never closes is taken as never opened."""
    depth = comment_start = 0
    for match in _TOKEN.finditer(value):
        word = match[0]
        if word[0] == '"' and (len(word) == 1 or word[-1] != '"') and depth == 0:
            yield from _tokens(value[match.start() :].replace('"', " "))
            return
        if word == "(":
            comment_start = match.end() if depth == 0 else comment_start
            depth += 1
        elif word == ")" and depth:
            depth -= 1
            if depth == 0:
                yield f"({value[comment_start : match.start()]}"
        elif depth == 0 and word not in {")", ">"}:
            yield word
    if depth:
        yield from _tokens(_BRACKETS.sub(" ", value[comment_start:]))


class _Mailbox:
    """The words of one mailbox, collected until its separator."""

    def __init__(self) -> None:
        self.angle: str | None = None
        self._words: list[str] = []
        self._comments: list[str] = []

    def take(self, token: str) -> None:
        if token[0] == "<":
            self.angle = token.strip("<>").strip(BLANKS) if self.angle is None else self.angle
        elif token[0] == "(":
            self._comments.append(token[1:])
        else:
            self._words.append(token)

    def finish(self) -> Iterator[Address]:
        if self.angle is not None:
            address = _ROUTE.sub("", self.angle).replace(" ", "")
            name = self._name() or _decoded(self._comments)
        else:
            address, name = self._bare()
        if address or name:
            yield Address(name, decode_text(address))

    def _bare(self) -> tuple[str, str]:
        """Return address and name where nothing stands in angle brackets."""
        with_at = next((word for word in self._words if "@" in word), None)
        if with_at is not None and "@" not in (with_at[0], with_at[-1]) and with_at[0] != '"':
            self._words.remove(with_at)
            return with_at, _decoded(self._comments) or self._name()
        if with_at is not None:  # local @ domain, "local"@domain
            return "".join(self._words), _decoded(self._comments)
        if len(self._words) == 1 and self._words[0][0] not in '"=':
            return self._words[0], _decoded(self._comments)  # a local user: root (Cron Daemon)
        return "", self._name()

    def _name(self) -> str:
        return _decoded(_unquoted(word) for word in self._words)


def _unquoted(word: str) -> str:
    return _ESCAPED.sub(r"\1", word[1:-1]) if word[0] == '"' and len(word) > 1 else word


def _decoded(words: Iterable[str]) -> str:
    return decode_text(" ".join(words))
