"""Gmail's JSON read into values, or refused where it has another shape than documented."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emailsync.domain.errors import ServerRefused
from emailsync.providers.gmail.values import (
    Event,
    EventKind,
    decoded,
    headers_only_of,
    history_id_of,
    history_page_of,
    labels_of,
    message_labels_of,
    message_list_of,
    whole_message_of,
)


@given(st.binary(max_size=500), st.booleans())
def test_base64url_is_read_with_and_without_its_padding(raw: bytes, is_padded: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    text = base64.urlsafe_b64encode(raw).decode()

    assert decoded(text if is_padded else text.rstrip("=")) == raw


@pytest.mark.parametrize("text", ["a", "ab*c", "ab\ncd", "äöü", "ab==cd==", "\ud800"])
def test_what_is_no_base64url_is_refused(text: str) -> None:
    with pytest.raises(ServerRefused):
        decoded(text)


def test_a_message_is_read_with_what_it_lacks_left_out() -> None:
    message = whole_message_of({"id": "1a", "raw": "SGk"})

    assert (message.id, message.raw, message.size_bytes) == ("1a", b"Hi", 2)
    assert (message.thread_id, message.labels, message.received_at) == (None, frozenset(), None)


@pytest.mark.parametrize(
    ("given_date", "expected"),
    [
        ("1767225600123", datetime(2026, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC)),
        ("-1000", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("99999999999999999999", None),
        ("soon", None),
        (None, None),
    ],
)
def test_a_date_that_no_calendar_has_is_left_out(
    given_date: str | None, expected: datetime | None
) -> None:
    message = whole_message_of({"id": "1a", "raw": "SGk", "internalDate": given_date})

    assert message.received_at == expected


def test_a_message_over_the_limit_keeps_its_headers() -> None:
    raw = b"Subject: x\r\n\r\n" + b"y" * 100
    encoded = base64.urlsafe_b64encode(raw).decode()

    message = whole_message_of({"id": "1a", "raw": encoded}).cut_to(50)

    assert (message.raw, message.truncated) == (b"Subject: x\r\n\r\n", True)
    assert message.size_bytes == len(raw)


def test_headers_alone_are_put_together_as_they_were() -> None:
    headers = [{"name": "Subject", "value": "Grüße"}, {"name": "X", "value": "1"}]
    message = headers_only_of({"id": "1a", "sizeEstimate": 9, "payload": {"headers": headers}})

    assert message.raw == "Subject: Grüße\r\nX: 1\r\n\r\n".encode()
    assert (message.size_bytes, message.truncated) == (9, True)


def test_history_is_read_in_order_and_only_from_what_says_what_happened() -> None:
    def entry(**fields: Any) -> Mapping[str, Any]:
        return {"message": {"id": "m"}} | fields

    page = history_page_of(
        {
            "historyId": "9",
            "history": [
                {
                    "id": "3",
                    "messages": [{"id": "m"}],
                    "messagesAdded": [{"message": {"id": "m", "labelIds": ["INBOX"]}}],
                },
                {"id": "4", "labelsAdded": [entry(labelIds=["A"])]},
                {"id": "5", "labelsRemoved": [entry(labelIds=["B"])]},
                {"id": "7", "messagesDeleted": [entry()]},
            ],
        }
    )

    assert page.events == [
        Event(EventKind.ADDED, "m", frozenset({"INBOX"})),
        Event(EventKind.LABELS_ADDED, "m", frozenset({"A"})),
        Event(EventKind.LABELS_REMOVED, "m", frozenset({"B"})),
        Event(EventKind.DELETED, "m", frozenset()),
    ]
    assert (page.last_record, page.next_page, page.history_id) == ("7", "", "9")


def test_lists_that_are_left_out_are_empty() -> None:
    assert list(labels_of({})) == []
    assert message_list_of({}).ids == []
    assert history_page_of({"historyId": "1", "nextPageToken": "t"}).next_page == "t"


@pytest.mark.parametrize(
    "answer",
    [
        {"messages": "all"},
        {"messages": ["a"]},
        {"messages": [{"id": 7}]},
        {"messages": [{}]},
        {"messages": [{"id": "a\0"}]},
        {"messages": [{"id": "a\ud800"}]},
        {"messages": [{"id": "x" * 3_000}]},
        {"nextPageToken": 7},
        {"nextPageToken": "\ud800"},
    ],
)
def test_an_answer_of_another_shape_is_refused(answer: Mapping[str, Any]) -> None:
    with pytest.raises(ServerRefused):
        message_list_of(answer)


@pytest.mark.parametrize("labels", [5, "INBOX", {"INBOX": 1}, [None], ["INBOX", ["A"]], ["\ud800"]])
def test_labels_that_are_none_are_refused(labels: object) -> None:
    with pytest.raises(ServerRefused):
        message_labels_of({"id": "a", "labelIds": labels})


@pytest.mark.parametrize("told", ["abc", "", "-1", "9" * 30, "٣", "%2e", 7, None])
def test_a_place_in_the_history_that_is_no_number_is_not_taken_for_a_bookmark(told: object) -> None:
    with pytest.raises(ServerRefused):
        history_page_of({"historyId": told})
    with pytest.raises(ServerRefused):
        history_page_of({"history": [{"id": told}], "historyId": "1"})
    with pytest.raises(ServerRefused):
        history_id_of({"historyId": told})
