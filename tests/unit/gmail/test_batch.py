"""Many calls in one request: how a batch is written, and its answer read."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emailsync.domain.errors import ServerRefused
from emailsync.providers.gmail.batch import batch_answers, batch_request
from emailsync.providers.http_messages import Answer

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def answer(body: bytes, content_type: str = "multipart/mixed; boundary=batch_x") -> Answer:
    return Answer(status=200, headers={"content-type": content_type}, body=body, received_at=NOW)


def part(number: int | str, body: bytes, status: str = "200 OK", line_end: str = "\r\n") -> bytes:
    lines = [
        "--batch_x",
        "Content-Type: application/http",
        f"Content-ID: <response-{number}>",
        "",
        f"HTTP/1.1 {status}",
        "Content-Type: application/json; charset=UTF-8",
        "Retry-After: 7",
        "",
        "",
    ]
    return line_end.join(lines).encode() + body + line_end.encode()


def whole(*parts: bytes) -> bytes:
    return b"".join([*parts, b"--batch_x--\r\n"])


def test_a_request_holds_one_call_a_path() -> None:
    request = batch_request(["/gmail/v1/a?format=raw", "/gmail/v1/b"])

    assert request.content is not None
    assert request.url == "/batch/gmail/v1"
    assert re.findall(rb"Content-ID: <(\d+)>\r\n\r\nGET (\S+)\r\n", request.content) == [
        (b"0", b"/gmail/v1/a?format=raw"),
        (b"1", b"/gmail/v1/b"),
    ]
    assert request.content.endswith(b"--\r\n")


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
def test_parts_are_told_apart_by_their_numbers_in_any_order(line_end: str) -> None:
    body = whole(
        part(2, b'{"id": "c"}', line_end=line_end),
        part(0, b'{"id": "a"}', line_end=line_end),
        part(1, b'{"error": {}}', "404 Not Found", line_end=line_end),
    )

    parts = batch_answers(answer(body))

    assert {number: one.status for number, one in parts.items()} == {0: 200, 1: 404, 2: 200}
    assert parts[0].json() == {"id": "a"}
    assert parts[1].headers["retry-after"] == "7"


def test_what_was_cut_short_counts_as_unanswered() -> None:
    body = whole(part(0, b'{"id": "a"}'), part(1, b'{"id": "b"}'))

    for end in range(len(body)):
        for number, one in batch_answers(answer(body[:end])).items():
            assert one.json() == {"id": "ab"[number]}


def test_a_boundary_inside_of_a_line_is_content() -> None:
    parts = batch_answers(answer(whole(part(0, b'{"raw": "--batch_x--batch_x--"}'))))

    assert parts[0].json() == {"raw": "--batch_x--batch_x--"}


@pytest.mark.parametrize(
    "piece",
    [
        b"--batch_x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}\r\n",
        b"--batch_x\r\nContent-ID: <response-0>\r\n\r\nnot http\r\n\r\n{}\r\n",
        b"--batch_x\r\nContent-ID: <0>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}\r\n",
        b"--batch_x\r\nContent-ID: <response-0>\r\n",
        b"--batch_x\r\n",
    ],
)
def test_a_part_without_number_or_status_counts_as_unanswered(piece: bytes) -> None:
    parts = batch_answers(answer(whole(piece, part(5, b"{}"))))

    assert list(parts) == [5]


@pytest.mark.parametrize("content_type", ["application/json", "text/html", "multipart/mixed", ""])
def test_an_answer_that_is_not_in_parts_is_refused(content_type: str) -> None:
    with pytest.raises(ServerRefused):
        batch_answers(answer(b"{}", content_type))


@given(st.lists(st.binary(max_size=300), max_size=8), st.binary(max_size=100))
def test_any_bytes_are_read_without_a_crash(bodies: Sequence[bytes], noise: bytes) -> None:
    pieces = [part(number, body) for number, body in enumerate(bodies)]

    parts = batch_answers(answer(whole(noise, *pieces)))

    assert set(parts) <= set(range(len(bodies)))
