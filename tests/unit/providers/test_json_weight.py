"""JSON is refused for the number of its values, never for what its text says."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emailsync.providers.http_messages import AnswerTooLarge
from emailsync.providers.json_weight import (
    LIGHT_BYTES,
    MOST_VALUES,
    _marks_outside_strings,
    refuse_heavy,
)

JSON = "application/json; charset=utf-8"
HEAVY = b'{"value": [' + b"[]," * MOST_VALUES + b'"' + b" " * LIGHT_BYTES + b'"]}'
FULL_OF_COMMAS = orjson.dumps({"value": [{"html": 'a:"[{,\\' * MOST_VALUES}] * 3})

texts = st.text(st.sampled_from('",[{\\a')) | st.text()
values = st.recursive(
    st.none() | st.integers(0, 9) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


def signs_of(value: object) -> int:
    """Return how many opening brackets and commas a value is written with."""
    match value:
        case dict():
            return 1 + max(0, len(value) - 1) + sum(map(signs_of, value.values()))
        case list():
            return 1 + max(0, len(value) - 1) + sum(map(signs_of, value))
        case _:
            return 0


@given(values, st.integers(1, 5))
def test_only_what_is_outside_of_text_counts_wherever_a_piece_ends(
    value: object, size: int
) -> None:
    body = orjson.dumps(value)
    pieces = (body[start : start + size] for start in range(0, len(body), size))

    assert sum(_marks_outside_strings(pieces)) == signs_of(value)


async def test_text_may_hold_anything() -> None:
    await refuse_heavy(FULL_OF_COMMAS, kind=JSON, server="a.test")


@pytest.mark.parametrize("kind", [JSON, 'multipart/mixed; boundary="x"'])
async def test_too_many_values_are_refused(kind: str) -> None:
    with pytest.raises(AnswerTooLarge, match="values"):
        await refuse_heavy(HEAVY, kind=kind, server="a.test")


async def test_what_is_no_json_is_not_looked_at() -> None:
    await refuse_heavy(HEAVY, kind="text/plain", server="a.test")
