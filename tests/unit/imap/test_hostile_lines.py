"""Lines made to take long, or to stay in memory: all accounts share the loop that reads them."""

import time
from collections.abc import Callable

import pytest

from emailsync.domain.uid_set import MAX_UID
from emailsync.providers.imap.answers import Condition, Fetch
from emailsync.providers.imap.fetch_parsing import MAX_KEYWORD_CHARS, MAX_KEYWORDS
from emailsync.providers.imap.framing import MAX_OTHER_LINE_BYTES, Framer, FramingError
from emailsync.providers.imap.listing import MAX_UID_VALIDITY, mailbox_status
from emailsync.providers.imap.mailbox_names import decode_name
from emailsync.providers.imap.parse import parse
from emailsync.providers.imap.refusals import Phase, refusal

MOST_S = 2.0  #: linear reading of these takes 0.1 s at most; quadratic 10 s at least


@pytest.mark.parametrize(
    "read",
    [
        lambda: refusal(Condition("NO", "mailbox " * 16_000), Phase.FOLDER),
        lambda: decode_name(b"&" * 200_000),
        lambda: parse([b"* 1 FETCH (" + b"X[ " * 100_000]),
        lambda: parse([b"* 1 FETCH (" + b"BODY[ " * 50_000]),
    ],
    ids=["refusal", "folder name", "unknown item", "body section"],
)
def test_a_line_is_read_in_linear_time(read: Callable[[], object]) -> None:
    started_s = time.process_time()

    read()

    assert time.process_time() - started_s < MOST_S


@pytest.mark.parametrize("head", [b"* SEARCH ", b"* esearch ", b"* VANISHED "])
def test_a_list_of_uids_may_be_one_long_line(head: bytes) -> None:
    line = head + b"1 " * MAX_OTHER_LINE_BYTES

    assert list(Framer(max_literal_bytes=9).feed(line + b"\r\n")) == [[line]]


@pytest.mark.parametrize("head", [b"* CAPABILITY ", b"* LIST (", b"A1 NO ", b"* X {1}\r\n."])
def test_no_other_line_may(head: bytes) -> None:
    framer = Framer(max_literal_bytes=9)

    with pytest.raises(FramingError, match=f"a line of more than {MAX_OTHER_LINE_BYTES} bytes"):
        list(framer.feed(head + b"1 " * MAX_OTHER_LINE_BYTES))


def test_a_message_has_a_bounded_number_of_keywords_of_bounded_length() -> None:
    """Thousands of messages are compared at a time, each with its keywords."""
    words = [b"k%04d" % number for number in range(2 * MAX_KEYWORDS)]
    words.append(b"a" * (MAX_KEYWORD_CHARS + 1))

    fetch = parse([b"* 1 FETCH (UID 1 FLAGS (\\Seen " + b" ".join(words) + b"))"])

    assert isinstance(fetch, Fetch)
    assert fetch.flags is not None
    assert fetch.flags.is_read
    assert fetch.flags.keywords == tuple(word.decode() for word in words[:MAX_KEYWORDS])


def test_counters_that_no_server_can_have_are_as_good_as_missing() -> None:
    """Postgres could not hold them either."""
    status = mailbox_status(
        {"UIDVALIDITY": MAX_UID_VALIDITY + 1, "UIDNEXT": MAX_UID + 1, "HIGHESTMODSEQ": 10**19}
    )

    assert (status.uid_validity, status.uid_next, status.highest_modseq) == (None, None, None)
