"""Cursors: what clients hand back is ours or refused."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, TypeAdapter

from emailsync.api.paging import decode, encode, page
from emailsync.api.problems import Refused

NUMBER = TypeAdapter(tuple[int])
MOMENT = TypeAdapter(tuple[AwareDatetime, int])


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_cursor_is_read_as_it_was_made(number: int) -> None:
    assert decode(encode((number,)), NUMBER) == (number,)


def test_a_moment_keeps_its_microseconds() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    assert decode(encode((moment, 1)), MOMENT) == (moment, 1)


@given(st.text())
def test_any_other_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(Refused) as refused:
        decode(text, MOMENT)

    assert refused.value.status == 422


def test_the_last_page_has_no_cursor() -> None:
    assert page([1, 2, 3], 2, lambda row: (row,)) == ([1, 2], encode((2,)))
    assert page([1, 2], 2, lambda row: (row,)) == ([1, 2], None)
    assert page([], 2, lambda row: (row,)) == ([], None)
