"""The two ways of parsing, held against each other and against the standard library's parser."""

import email
from email.policy import compat32

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from emailsync.domain.mail import ParsedMessage
from emailsync.mime.fast import Refused, parse_fast
from emailsync.mime.headers import split_headers
from emailsync.mime.structure import read_parts
from emailsync.mime.tolerant import parse_tolerantly
from mail_grammar import damaged_mails, mails

EXAMPLES = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def fast_or_none(raw: bytes) -> ParsedMessage | None:
    try:
        return parse_fast(raw)
    except Refused:
        return None


@EXAMPLES
@given(mails())
def test_what_the_fast_path_accepts_the_tolerant_path_reads_the_same(raw: bytes) -> None:
    fast = fast_or_none(raw)

    if fast is not None:
        assert fast == parse_tolerantly(raw)


@EXAMPLES
@given(damaged_mails())
def test_damage_that_the_fast_path_accepts_is_read_the_same(raw: bytes) -> None:
    """Whatever the compiled parser repairs or gives up silently must have been refused."""
    fast = fast_or_none(raw)

    if fast is not None:
        tolerant = parse_tolerantly(raw)
        assert fast == tolerant


@EXAMPLES
@given(st.binary(max_size=300) | st.text(alphabet='\r\n :;=?"<>()-abB').map(str.encode))
def test_no_bytes_fail_the_tolerant_path(raw: bytes) -> None:
    assert isinstance(parse_tolerantly(raw), ParsedMessage)

    fast = fast_or_none(raw)
    if fast is not None:
        assert fast == parse_tolerantly(raw)


@EXAMPLES
@given(mails())
def test_where_the_standard_library_finds_no_defect_it_finds_the_same_parts(raw: bytes) -> None:
    """An oracle that shares no code with ours. Embedded messages it takes apart; we do not."""
    message = email.message_from_bytes(raw, policy=compat32)
    assume(b"message/rfc822" not in raw)
    assume(b"digest" not in raw)
    assume(not any(part.defects for part in message.walk()))
    leaves = [part for part in message.walk() if not part.is_multipart()]
    expected = [(leaf.get_content_type(), leaf.get_payload(decode=True)) for leaf in leaves]

    parts = list(read_parts(raw, split_headers(raw), []))

    assert [(part.headers.content_type, part.content) for part in parts] == expected
