import pytest

from emailsync.providers.imap.framing import MAX_LITERALS, Framer, FramingError


def framed(data: bytes, *, literal: int = 1_000, line: int = 1_000) -> list[list[bytes]]:
    return list(Framer(max_literal_bytes=literal, max_line_bytes=line).feed(data))


def test_lines_become_responses() -> None:
    assert framed(b"* 3 EXISTS\r\n* OK hi\r\n") == [[b"* 3 EXISTS"], [b"* OK hi"]]


def test_a_literal_stands_between_the_texts_around_it() -> None:
    responses = framed(b"* 1 FETCH (UID 1 BODY[] {5}\r\nhe\r\no FLAGS ())\r\n")

    assert responses == [[b"* 1 FETCH (UID 1 BODY[] ", b"he\r\no", b" FLAGS ())"]]


@pytest.mark.parametrize("announcement", [b"{3}", b"~{3}", b"{3+}", b"~{3+}"])
def test_every_kind_of_literal_is_known(announcement: bytes) -> None:
    """Binary literals are RFC 3516's, non-synchronizing ones RFC 7888's."""
    assert framed(b"* X " + announcement + b"\r\nabc\r\n") == [[b"* X ", b"abc", b""]]


def test_a_literal_may_be_empty() -> None:
    assert framed(b"* 1 FETCH (BODY[] {0}\r\n)\r\n") == [[b"* 1 FETCH (BODY[] ", b"", b")"]]


def test_one_response_may_hold_several_literals() -> None:
    responses = framed(b"* LIST () {1}\r\n/ {3}\r\na b\r\n")

    assert responses == [[b"* LIST () ", b"/", b" ", b"a b", b""]]


@pytest.mark.parametrize(
    "line",
    [
        b"* OK your quota is {5}",
        b"A1 NO [ALERT] see ticket {5}",
        b"* BYE {5}",
        b"+ go on {5}",
        b'* 1 FETCH (ENVELOPE ("a line that breaks inside quotes {5}',
        b'* LIST () "/" "weeks {5}"',
        b"* X {5} ",
        b"* X {five}",
        b"* X {}",
    ],
)
def test_a_number_in_braces_elsewhere_is_text(line: bytes) -> None:
    assert framed(line + b"\r\n* 1 EXISTS\r\n") == [[line], [b"* 1 EXISTS"]]


def test_an_escaped_quote_does_not_end_the_quotes() -> None:
    assert framed(b'* LIST () "\\"" {1}\r\nx\r\n') == [[b'* LIST () "\\"" ', b"x", b""]]


def test_bytes_that_arrive_one_by_one_give_the_same() -> None:
    data = b"* 1 FETCH (BODY[] {4}\r\na\r\nb)\r\nA1 OK done\r\n"
    framer = Framer(max_literal_bytes=100)

    one_by_one = [
        response for at in range(len(data)) for response in framer.feed(data[at : at + 1])
    ]

    assert one_by_one == framed(data)
    assert framer.is_idle


def test_empty_lines_between_responses_are_skipped() -> None:
    assert framed(b"\r\n* 1 EXISTS\r\n\r\n") == [[b"* 1 EXISTS"]]


def test_a_bare_line_feed_ends_nothing() -> None:
    assert framed(b"* OK one\ntwo\r\n") == [[b"* OK one\ntwo"]]


@pytest.mark.parametrize("size", [b"1001", b"9999999999", b"9" * 5_000])
def test_a_literal_over_the_limit_ends_the_stream_before_it_is_read(size: bytes) -> None:
    with pytest.raises(FramingError, match="literal of more than 1000 bytes"):
        framed(b"* 1 FETCH (BODY[] {" + size + b"}\r\n", line=10_000)


def test_a_line_over_the_limit_ends_the_stream_while_it_grows() -> None:
    framer = Framer(max_literal_bytes=100, max_line_bytes=50)

    assert list(framer.feed(b"* SEARCH " + b"1" * 30)) == []
    with pytest.raises(FramingError, match="line of more than 50 bytes"):
        list(framer.feed(b"1" * 30))


def test_a_line_over_the_limit_that_arrives_whole_ends_the_stream() -> None:
    with pytest.raises(FramingError, match="line of more than 50 bytes"):
        framed(b"x" * 51 + b"\r\n", line=50)


def test_a_response_of_endless_literals_ends_the_stream() -> None:
    with pytest.raises(FramingError, match="without end"):
        framed(b"* X " + b"{0}\r\n" * (MAX_LITERALS + 1), line=100_000)


def test_the_literals_of_one_response_are_bounded_together() -> None:
    with pytest.raises(FramingError, match="without end"):
        framed(b"* X " + (b"{900}\r\n" + b"x" * 900) * 3)


def test_what_came_before_a_broken_line_is_still_given() -> None:
    stream = Framer(max_literal_bytes=9).feed(b"* 1 EXISTS\r\n* X {10}\r\n")

    assert next(stream) == [b"* 1 EXISTS"]
    with pytest.raises(FramingError):
        next(stream)


def test_it_knows_whether_it_stands_between_two_responses() -> None:
    framer = Framer(max_literal_bytes=100)
    assert framer.is_idle

    for piece in (b"* 1 FET", b"CH (BODY[] {2}\r\n", b"a", b"b"):
        list(framer.feed(piece))
        assert not framer.is_idle

    list(framer.feed(b")\r\n"))
    assert framer.is_idle
