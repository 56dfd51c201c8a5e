"""What an IMAP server can say, as frozen values. Made by parse.py, routed by protocol.py.

Only what a reading client needs; everything else is `Ignored`. Tuples, because a mailbox answers
with a hundred thousand of them.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from emailsync.domain.mail import Flags

MAX_MODSEQ: Final = 2**63 - 1  #: RFC 7162 section 1
NO_SECTIONS: Final[Mapping[str, bytes | None]] = MappingProxyType({})


class Code(NamedTuple):
    """A response code: what stands in the brackets of a status response (RFC 9051 section 7.1)."""

    name: str  #: upper case, e.g. "UIDVALIDITY"
    argument: str = ""


class Condition(NamedTuple):
    """OK, NO, BAD, BYE or PREAUTH."""

    status: str  #: upper case
    text: str  #: for people, without the code
    code: Code | None = None
    tag: str | None = None  #: None: untagged


class Continuation(NamedTuple):
    """The server waits for more of the command."""

    text: str


class Capability(NamedTuple):
    """The server's abilities, in upper case."""

    names: frozenset[str]


class Enabled(NamedTuple):
    """What ENABLE switched on, in upper case."""

    names: frozenset[str]


class Id(NamedTuple):
    """What the server calls itself (RFC 2971); keys in lower case."""

    fields: Mapping[str, str]


class Mailbox(NamedTuple):
    """A line of LIST."""

    flags: frozenset[str]  #: lower case, with the backslash
    delimiter: str | None
    name: bytes  #: as on the wire, unquoted


class Status(NamedTuple):
    """A line of STATUS; keys in upper case."""

    name: bytes
    items: Mapping[str, int]


class Exists(NamedTuple):
    """The mailbox holds this many messages now."""

    messages: int


class Expunged(NamedTuple):
    """One message is gone."""

    sequence: int


class Vanished(NamedTuple):
    """UIDs that are gone, some of which may never have been (RFC 7162 section 3.2.10).

    Like the numbers of a search they are not read yet, for there may be very many.
    """

    uids: str
    earlier: bool  #: before this session: the message count knows already


class Search(NamedTuple):
    """A line of SEARCH; the numbers are not read yet, for there may be millions."""

    numbers: bytes


class ESearch(NamedTuple):
    """An ESEARCH answer (RFC 4731); `all` is not read yet, for it may be as long as SEARCH."""

    tag: str | None
    all: bytes
    total: int | None  #: COUNT


class Fetch(NamedTuple):
    """One FETCH response: any subset of what was asked for, or nothing that was."""

    sequence: int
    uid: int | None = None
    flags: Flags | None = None
    modseq: int | None = None
    received_at: datetime | None = None
    size_bytes: int | None = None
    email_id: str | None = None  #: EMAILID (RFC 8474), else X-GM-MSGID
    thread_id: str | None = None  #: THREADID (RFC 8474), else X-GM-THRID
    sections: Mapping[str, bytes | None] = NO_SECTIONS
    """Body sections by upper-case name, "" for the whole message; None: the server says NIL."""


class Ignored(NamedTuple):
    """Something that a reading client has no use for, or cannot read."""

    start: bytes  #: its first bytes, for a test to look at


Answer = (
    Condition
    | Continuation
    | Capability
    | Enabled
    | Id
    | Mailbox
    | Status
    | Exists
    | Expunged
    | Vanished
    | Search
    | ESearch
    | Fetch
    | Ignored
)
