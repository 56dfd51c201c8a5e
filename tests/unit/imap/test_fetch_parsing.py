from datetime import UTC, datetime, timedelta, timezone

import pytest

from emailsync.domain.mail import Flags
from emailsync.providers.imap.answers import Fetch
from emailsync.providers.imap.fetch_parsing import parse_internal_date
from emailsync.providers.imap.framing import Framer
from emailsync.providers.imap.parse import parse


def fetched(items: bytes) -> Fetch:
    (response,) = Framer(max_literal_bytes=10_000).feed(b"* 12 FETCH (" + items + b"\r\n")
    answer = parse(response)
    assert isinstance(answer, Fetch)
    assert answer.sequence == 12
    return answer


def test_everything_that_is_asked_for_is_read() -> None:
    fetch = fetched(
        b"UID 7 FLAGS (\\Seen $Forwarded \\Flagged) RFC822.SIZE 4286 MODSEQ (624140003)"
        b' INTERNALDATE "17-Jul-1996 02:44:25 -0700" EMAILID (M6d99) THREADID (T64b4)'
        b" BODY[] {3}\r\nabc)"
    )

    assert fetch == Fetch(
        sequence=12,
        uid=7,
        flags=Flags(is_read=True, is_starred=True, keywords=("$Forwarded",)),
        modseq=624140003,
        received_at=datetime(1996, 7, 17, 2, 44, 25, tzinfo=timezone(-timedelta(hours=7))),
        size_bytes=4286,
        email_id="M6d99",
        thread_id="T64b4",
        sections={"": b"abc"},
    )


@pytest.mark.parametrize(
    "items",
    [
        b"UID 7 FLAGS (\\Seen) BODY[] {1}\r\nx)",
        b"BODY[] {1}\r\nx UID 7 FLAGS (\\Seen))",
        b"FLAGS (\\Seen) BODY[] {1}\r\nx UID 7)",
        b'ENVELOPE ("a) (" NIL (("x" NIL "y" "z"))) UID 7 FLAGS (\\Seen) BODY[] "x")',
        b"X-UNKNOWN {2}\r\n)) FLAGS (\\Seen) BODY[] {1}\r\nx UID 7)",
        b"X (a {1}\r\n( b) UID 7 BODY.PEEK[] {1}\r\nx FLAGS (\\Seen))",
        b"uid 7 flags (\\SEEN) body[] {1}\r\nx)",
        b"UID 7  FLAGS (\\Seen) BODY[]<0> {1}\r\nx)",
    ],
)
def test_order_case_and_unknown_items_do_not_matter(items: bytes) -> None:
    fetch = fetched(items)

    assert (fetch.uid, fetch.flags, fetch.sections) == (7, Flags(is_read=True), {"": b"x"})


@pytest.mark.parametrize(
    ("items", "sections"),
    [
        (b"UID 1 BODY[] NIL)", {"": None}),
        (b"UID 1 BODY[] {0}\r\n)", {"": b""}),
        (b'UID 1 BODY[] "")', {"": b""}),
        (b'UID 1 BODY[HEADER] "a \\"b\\" \\\\")', {"HEADER": b'a "b" \\'}),
        (
            b"UID 1 BODY[HEADER.FIELDS (Message-Id)] {4}\r\nM: x)",
            {"HEADER.FIELDS (MESSAGE-ID)": b"M: x"},
        ),
        (b"UID 1 BODY[HEADER] {1}\r\na BODY[TEXT] {1}\r\nb)", {"HEADER": b"a", "TEXT": b"b"}),
        (b"UID 1 BODY[])", {}),
        (b"UID 1)", {}),
    ],
)
def test_body_sections_are_read_in_every_form(
    items: bytes, sections: dict[str, bytes | None]
) -> None:
    assert fetched(items).sections == sections


def test_a_scan_line_of_flags_is_read_at_one_go() -> None:
    assert fetched(b"UID 3 FLAGS ())") == Fetch(12, 3, Flags())
    assert fetched(b"UID 3 MODSEQ (9) FLAGS (\\Answered))") == Fetch(
        12, 3, Flags(is_answered=True), 9
    )


def test_gmail_names_messages_and_threads_in_its_own_words() -> None:
    fetch = fetched(b"X-GM-THRID 1266894439832287888 X-GM-MSGID 1278455344230334865 UID 1)")

    assert (fetch.email_id, fetch.thread_id) == ("1278455344230334865", "1266894439832287888")


def test_a_message_may_have_no_thread() -> None:
    assert fetched(b"UID 1 THREADID NIL EMAILID (M1))").thread_id is None


@pytest.mark.parametrize(
    "items",
    [
        b"UID 0 FLAGS ())",
        b"UID 4294967296 FLAGS ())",
        b"UID 99999999999999999999 FLAGS ())",
        b"UID -1 FLAGS ())",
        b"UID x FLAGS ())",
        b"FLAGS ())",
    ],
)
def test_an_impossible_uid_is_none(items: bytes) -> None:
    assert fetched(items).uid is None


def test_numbers_over_63_bits_are_none() -> None:
    fetch = fetched(b"UID 1 MODSEQ (18446744073709551615) RFC822.SIZE 9999999999999999999)")

    assert (fetch.uid, fetch.modseq, fetch.size_bytes) == (1, None, None)


@pytest.mark.parametrize(
    "items",
    [
        b"",
        b")",
        b"UID",
        b"UID 1 FLAGS (",
        b"UID 1 ENVELOPE (((",
        b"UID 1 BODY[",
        b"UID 1 X {3}\r\nabc",
        b'UID 1 X "unended',
        b"UID 1 X " + b"(" * 5_000,
        b"\xff\xfe UID 1)",
    ],
)
def test_a_broken_response_gives_what_could_be_read(items: bytes) -> None:
    assert fetched(items).uid in (None, 1)


@pytest.mark.parametrize(
    ("text", "date"),
    [
        (b" 1-Jan-2024 10:00:00 +0000", datetime(2024, 1, 1, 10, tzinfo=UTC)),
        (b"1-jan-2024 10:00:00 +0000", datetime(2024, 1, 1, 10, tzinfo=UTC)),
        (
            b"01-Dec-2024 23:59:60 +0545",
            datetime(2024, 12, 1, 23, 59, 59, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        ),
        (b"30-Feb-2024 10:00:00 +0000", None),
        (b"01-Jan-0000 10:00:00 +0000", None),
        (b"01-Foo-2024 10:00:00 +0000", None),
        (b"01-Jan-2024 10:00:00 +9900", None),
        (b"01-Jan-2024 10:00:00", None),
        (b"", None),
    ],
)
def test_dates_are_read_with_any_padding_or_not_at_all(text: bytes, date: datetime | None) -> None:
    assert parse_internal_date(text) == date


def test_flags_are_sorted_and_without_the_ones_of_no_interest() -> None:
    fetch = fetched(b"UID 1 FLAGS (zebra \\Recent \\Deleted \\Draft apple apple \\XCustom))")

    assert fetch.flags == Flags(is_draft=True, keywords=("apple", "zebra"))
