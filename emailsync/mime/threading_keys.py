"""Which conversation a message belongs to, by its own headers (RFC 5322 section 3.6.4).

The fields hold prose, folded ids, commas, anything: an id is what stands in angle brackets. A
provider's own thread id wins over the key made here, elsewhere.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from emailsync.mime.charsets import decode_leniently
from emailsync.mime.headers import Fields, first

MAX_REFERENCES: Final = 100  #: the first and last fifty: the root, and the nearest parents
MAX_ID_CHARS: Final = 998  #: a line, RFC 5322 section 2.1.1; some systems go beyond

_BRACKETED: Final = re.compile(r"<([^<>]+)>")
_BLANKS: Final = re.compile(r"\s+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ThreadingKeys:
    """The ids of a message and its ancestors, without angle brackets."""

    message_id: str | None
    in_reply_to: str | None
    references: Sequence[str]

    @property
    def thread_key(self) -> str | None:
        """The root of the conversation as far as this message knows it."""
        return self.references[0] if self.references else self.in_reply_to or self.message_id


def threading_keys(fields: Fields) -> ThreadingKeys:
    """Read the ids of a message."""
    references = _ids(first(fields, "references"))
    if len(references) > MAX_REFERENCES:
        references = references[: MAX_REFERENCES // 2] + references[-MAX_REFERENCES // 2 :]
    own = first(fields, "message-id")
    is_bare = own is not None and "<" not in own and not _BLANKS.search(own)
    return ThreadingKeys(
        message_id=_text(own) if own and is_bare else next(iter(_ids(own)), None),
        in_reply_to=next(iter(_ids(first(fields, "in-reply-to"))), None),
        references=tuple(references),
    )


def _ids(value: str | None) -> list[str]:
    if not value:
        return []
    ids = _BRACKETED.findall(value)
    if _BLANKS.search(value):
        ids = [_BLANKS.sub("", identifier) for identifier in ids]
    return [_text(identifier) for identifier in ids if identifier]


def _text(value: str) -> str:
    readable = value if value.isascii() else decode_leniently(value.encode("latin-1"), None)
    return readable[:MAX_ID_CHARS]
