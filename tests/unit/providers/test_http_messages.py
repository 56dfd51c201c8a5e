"""What is read out of an answer."""

from datetime import UTC, datetime

import pytest

from emailsync.domain.errors import ServerRefused
from emailsync.providers.http_messages import Answer, ApiRequest


def an_answer(body: bytes, kind: str | None = "application/json; charset=UTF-8") -> Answer:
    return Answer(
        status=200,
        headers={} if kind is None else {"content-type": kind},
        body=body,
        received_at=datetime(2026, 10, 5, tzinfo=UTC),
    )


@pytest.mark.parametrize("kind", ["application/json;odata.metadata=minimal", "Text/JSON", None])
def test_a_json_object_is_read(kind: str | None) -> None:
    assert an_answer(b'{"value": [1]}', kind).json() == {"value": [1]}


def test_half_a_surrogate_pair_in_one_subject_does_not_cost_the_page() -> None:
    body = rb'{"value": [{"subject": "\ud83d"}, {"subject": "fine"}]}'

    assert an_answer(body).json()["value"][1] == {"subject": "fine"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"<!doctype html><p>Sign in to the Wi-Fi</p>",
        b'{"value": [{"id": "1"}, {"i',
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe{}",
        b'{"a":' * 100_000,
        b"[" * 1_000_000,
    ],
)
def test_what_is_no_json_object_is_refused_without_repeating_it(body: bytes) -> None:
    with pytest.raises(ServerRefused, match=r"^the answer \(200\) is not the JSON object"):
        an_answer(body).json()


def test_json_that_calls_itself_html_is_refused() -> None:
    with pytest.raises(ServerRefused):
        an_answer(b"{}", "text/html").json()


def test_neither_a_request_nor_an_answer_prints_mail_or_tokens() -> None:
    answer = Answer(
        status=200,
        headers={"location": "canary"},
        body=b"canary",
        received_at=datetime(2026, 10, 5, tzinfo=UTC),
    )
    request = ApiRequest("POST", "/batch", headers={"x": "canary"}, content=b"canary")

    assert "canary" not in f"{answer!r}{request!r}"
