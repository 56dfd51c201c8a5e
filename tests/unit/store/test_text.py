"""What Postgres cannot hold is replaced, and nothing else is touched."""

from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emailsync.store.text import (
    EARLIEST,
    LATEST,
    MAX_LINE_CHARS,
    pg_json,
    pg_line,
    pg_text,
    pg_time,
)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("", ""),
        ("plain", "plain"),
        ("J\u00fcrgen \U0001f600", "J\u00fcrgen \U0001f600"),
        ("a\0b", "a\ufffdb"),
        ("\0\udcff\ud800", "\ufffd\ufffd\ufffd"),
        ("\ud83d\ude00", "\ufffd\ufffd"),  # two halves of a pair are not a character in Python
    ],
)
def test_nul_and_lone_surrogates_are_replaced(text: str, stored: str) -> None:
    assert pg_text(text) == stored


@given(st.text())
def test_text_that_postgres_can_hold_is_left_alone(text: str) -> None:
    assert pg_text(text) == text.replace("\0", "\ufffd")


def test_a_line_is_cut_to_what_a_list_can_show() -> None:
    assert pg_line("x" * (MAX_LINE_CHARS + 1)) == "x" * MAX_LINE_CHARS
    assert pg_line(None) is None


def test_json_is_scrubbed_at_any_depth_and_in_keys() -> None:
    value = {"a\0": [{"b": ("\udcff", 1, None)}], "\\u0000": "\\u0000"}

    assert orjson.loads(pg_json(value)) == {
        "a\ufffd": [{"b": ["\ufffd", 1, None]}],
        "\\u0000": "\\u0000",
    }


@pytest.mark.parametrize(
    ("moment", "stored"),
    [
        (None, None),
        (datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)),  # noqa: DTZ001 - a naive one
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), EARLIEST),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))), LATEST),
        (
            datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            datetime(2025, 12, 31, 22, tzinfo=UTC),
        ),
    ],
)
def test_dates_are_clamped_to_what_every_reader_can_hold(
    moment: datetime | None, stored: datetime | None
) -> None:
    assert pg_time(moment) == stored
