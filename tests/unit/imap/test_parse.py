import pytest

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
from emailsync.providers.imap.framing import Framer
from emailsync.providers.imap.parse import parse


def parsed(data: bytes) -> Answer:
    (response,) = Framer(max_literal_bytes=1_000).feed(data + b"\r\n")
    return parse(response)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"A1 OK done", Condition("OK", "done", tag="A1")),
        (b"A1 NO", Condition("NO", "", tag="A1")),
        (b"a1 bad Oops", Condition("BAD", "Oops", tag="a1")),
        (b"* BYE bye", Condition("BYE", "bye")),
        (b"* PREAUTH hi", Condition("PREAUTH", "hi")),
        (
            b"* OK [UIDVALIDITY 3857529045] UIDs valid",
            Condition("OK", "UIDs valid", Code("UIDVALIDITY", "3857529045")),
        ),
        (b"* OK [NOMODSEQ] no", Condition("OK", "no", Code("NOMODSEQ"))),
        (b"* OK [CLOSED]", Condition("OK", "", Code("CLOSED"))),
        (
            b"A1 NO [AUTHENTICATIONFAILED] no",
            Condition("NO", "no", Code("AUTHENTICATIONFAILED"), "A1"),
        ),
        (
            b"A1 OK [capability IMAP4rev1 IDLE] in",
            Condition("OK", "in", Code("CAPABILITY", "IMAP4rev1 IDLE"), "A1"),
        ),
        (b"A1 OK done [THROTTLED]", Condition("OK", "done [THROTTLED]", tag="A1")),
        (b"+ idling", Continuation("idling")),
        (b"+", Continuation("")),
        (b"+ OK go on", Continuation("OK go on")),
    ],
)
def test_status_responses_are_read(line: bytes, answer: Answer) -> None:
    """RFC 9051 section 7.1."""
    assert parsed(line) == answer


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"* 23 EXISTS", Exists(23)),
        (b"* 44 expunge", Expunged(44)),
        (
            b"* CAPABILITY IMAP4rev1 Idle auth=PLAIN",
            Capability(frozenset({"IMAP4REV1", "IDLE", "AUTH=PLAIN"})),
        ),
        (b"* ENABLED QRESYNC CONDSTORE", Enabled(frozenset({"QRESYNC", "CONDSTORE"}))),
        (b"* ENABLED", Enabled(frozenset())),
        (b'* ID ("name" "Dovecot" "version" NIL)', Id({"name": "Dovecot", "version": "NIL"})),
        (b"* ID NIL", Id({})),
        (b"* VANISHED (EARLIER) 41,43:116", Vanished("41,43:116", earlier=True)),
        (b"* VANISHED 1:4294967295", Vanished("1:4294967295", earlier=False)),
    ],
)
def test_untagged_responses_are_read(line: bytes, answer: Answer) -> None:
    assert parsed(line) == answer


@pytest.mark.parametrize(
    ("line", "flags", "delimiter", "name"),
    [
        (rb'* LIST (\HasNoChildren) "/" INBOX', {"\\hasnochildren"}, "/", b"INBOX"),
        (rb'* LIST (\Noselect) "." "a b"', {"\\noselect"}, ".", b"a b"),
        (rb"* LIST () NIL flat", set(), None, b"flat"),
        (rb'* LIST () "\\" "a\\\"b"', set(), "\\", rb"a\"b"),
        (b'* LIST (\\Sent) "/" {6}\r\na"b\\c)', {"\\sent"}, "/", b'a"b\\c)'),
        (b'* LIST () "/" {4}\r\n"ab"', set(), "/", b'"ab"'),
        (b'* LIST () "" ""', set(), None, b""),
        (b'* LIST () "/" "Entw&APw-rfe"', set(), "/", b"Entw&APw-rfe"),
        (b'* LIST () "/" "Entw\xfcrfe"', set(), "/", b"Entw\xfcrfe"),
        (b'* LIST () "/" foo* bar', set(), "/", b"foo*"),
    ],
)
def test_folders_are_read_however_their_names_are_sent(
    line: bytes, flags: set[str], delimiter: str | None, name: bytes
) -> None:
    assert parsed(line) == Mailbox(frozenset(flags), delimiter, name)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (
            b'* STATUS "a b" (MESSAGES 231 UIDNEXT 44292 uidvalidity 9)',
            Status(b"a b", {"MESSAGES": 231, "UIDNEXT": 44292, "UIDVALIDITY": 9}),
        ),
        (b"* STATUS {3}\r\na)b (MESSAGES 1 )", Status(b"a)b", {"MESSAGES": 1})),
        (b"* STATUS x (MESSAGES NIL UIDNEXT 4)", Status(b"x", {"UIDNEXT": 4})),
        (b"* STATUS x ()", Status(b"x", {})),
    ],
)
def test_counters_are_read(line: bytes, answer: Answer) -> None:
    assert parsed(line) == answer


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"* SEARCH 2 84 882", Search(b"2 84 882")),
        (b"* SEARCH", Search(b"")),
        (b"* SEARCH ", Search(b"")),
        (b"* SEARCH 2 5 (MODSEQ 917162500)", Search(b"2 5 ")),
        (b'* ESEARCH (TAG "A282") UID COUNT 3 ALL 2,10:11', ESearch("A282", b"2,10:11", 3)),
        (b'* ESEARCH (TAG "A282") UID', ESearch("A282", b"", None)),
        (b"* ESEARCH UID ALL 1", ESearch(None, b"1", None)),
    ],
)
def test_searches_are_kept_for_reading_in_slices(line: bytes, answer: Answer) -> None:
    assert parsed(line) == answer


@pytest.mark.parametrize(
    "line",
    [
        b"* FLAGS (\\Seen)",
        b"* 5 RECENT",
        b"* NAMESPACE NIL NIL NIL",
        b"* LIST",
        b"* LIST (",
        b'* LIST (\\Sent) "/"',
        b"* STATUS",
        b"* STATUS x",
        b"* 99999999999999999999 EXISTS",
        b"*",
        b"* ",
        b"nonsense",
        b"\xff\x00",
    ],
)
def test_the_rest_is_ignored_and_raises_nothing(line: bytes) -> None:
    assert isinstance(parsed(line), Ignored)
