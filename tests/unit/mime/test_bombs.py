"""Messages built to exhaust a parser. The suite's timeout is the proof that they do not."""

import pytest

from emailsync.domain.mail import ParsedMessage
from emailsync.mime.addresses import MAX_ADDRESSES
from emailsync.mime.fast import Refused, parse_fast
from emailsync.mime.message import MAX_TEXT_CHARS
from emailsync.mime.structure import MAX_PARTS
from emailsync.mime.tolerant import parse_tolerantly

HEAD = b"Subject: bomb\r\n"


def nested(depth: int, *, embedded: bool = False) -> bytes:
    """Return multiparts in multiparts, or messages in messages, around a text."""
    if embedded:
        return HEAD + b"Content-Type: message/rfc822\r\n\r\n" * depth + b"\r\ncore\r\n"
    openings = (
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level)
        for level in range(depth)
    )
    return HEAD + b"".join(openings) + b"\r\ncore\r\n"


def many_parts(count: int) -> bytes:
    return (
        HEAD
        + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        + (b"--b\r\nContent-Type: a/b\r\n\r\nx\r\n" * count + b"--b--\r\n")
    )


def parse(raw: bytes) -> ParsedMessage:
    """Parse as a worker would: the compiled parser must refuse or agree."""
    try:
        parsed = parse_fast(raw)
    except Refused:
        return parse_tolerantly(raw)
    assert parsed == parse_tolerantly(raw)
    return parsed


@pytest.mark.parametrize("depth", [60, 1_000, 100_000])
def test_containers_in_containers_end_at_the_limit(depth: int) -> None:
    parsed = parse(nested(depth))

    assert parsed.subject == "bomb"
    assert parsed.parse_error == "parts nested deeper than 50"
    assert len(parsed.attachments) == 1


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_messages_in_messages_are_one_attachment(depth: int) -> None:
    parsed = parse(nested(depth, embedded=True))

    assert [a.content_type for a in parsed.attachments] == ["message/rfc822"]


def test_depth_within_the_limit_is_read_to_the_core() -> None:
    parsed = parse(nested(40))

    assert parsed.body_text == "core"
    assert parsed.parse_error is None


def test_parts_end_at_the_limit() -> None:
    parsed = parse(many_parts(100_000))

    assert len(parsed.attachments) == MAX_PARTS
    assert parsed.parse_error == f"more than {MAX_PARTS} parts"


def test_as_many_parts_as_allowed_are_read() -> None:
    parsed = parse(many_parts(MAX_PARTS))

    assert len(parsed.attachments) == MAX_PARTS
    assert parsed.parse_error is None


def test_addresses_end_at_the_limit() -> None:
    recipients = b",\r\n ".join(b"a%d@b.ex" % number for number in range(16_000))

    parsed = parse(HEAD + b"To: " + recipients + b"\r\n\r\nbody")

    assert len(parsed.to) == MAX_ADDRESSES
    assert parsed.body_text == "body"
    assert parsed.parse_error == f"to: more than {MAX_ADDRESSES} addresses"


def test_a_megabyte_of_header_is_cut_and_the_body_read() -> None:
    parsed = parse(HEAD + b"X-Long: " + b"x" * 1_000_000 + b"\r\nTo: a@b\r\n\r\nbody")

    assert (parsed.subject, parsed.body_text) == ("bomb", "body")
    assert parsed.parse_error == "headers over 256 KiB"


def test_a_header_of_very_many_fields_is_cut() -> None:
    parsed = parse(HEAD + b"a:\n" * 1_000_000 + b"\nbody")

    assert parsed.body_text == "body"
    assert parsed.parse_error == "headers over 256 KiB"


def test_a_text_of_26_mb_is_cut_at_the_limit() -> None:
    parsed = parse(HEAD + b"\r\n" + b"All work and no play\r\n" * 1_200_000)

    assert parsed.body_text is not None
    assert len(parsed.body_text) == MAX_TEXT_CHARS
    assert parsed.parse_error == f"text cut at {MAX_TEXT_CHARS} characters"


@pytest.mark.parametrize(
    "body",
    [
        b"\n" * 1_000_000,
        b" " * 1_000_000 + b"x",
        b"=" * 100_000,
        b"A=" * 250_000,
        b"--b" * 250_000,
        b"\n--b" * 100_000,
        b"\n--b\n" * 100_000,
        b"\n--b " * 100_000,
        bytes(range(256)) * 4_000,
    ],
    ids=[
        "lines",
        "blanks",
        "equals",
        "padding",
        "delimiters",
        "prefixes",
        "parts",
        "open",
        "bytes",
    ],
)
@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable", b"x-uuencode"])
def test_hostile_bodies_are_read_in_linear_time(body: bytes, encoding: bytes) -> None:
    encoded = HEAD + b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n"
    contained = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"

    assert parse(encoded + body).subject == "bomb"
    assert parse(contained + body).subject == "bomb"


def test_a_thousand_parts_of_lying_charsets_are_not_all_guessed() -> None:
    part = b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + bytes(range(128, 256)) * 30
    message = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + (part + b"\r\n") * 900

    parsed = parse(message)

    assert parsed.body_text
