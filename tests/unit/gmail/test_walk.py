"""The place of a walk survives the database, and one that cannot be read begins anew."""

import pytest

from emailsync.providers.gmail.walk import Stage, Walk


@pytest.mark.parametrize(
    "walk",
    [
        Walk(),
        Walk(at="token", is_shifted=True),
        Walk(stage=Stage.LABELS, at="Label_1", compares=True),
    ],
)
def test_a_walk_is_read_as_it_was_written(walk: Walk) -> None:
    assert Walk.from_token(walk.token()) == walk


@pytest.mark.parametrize("token", [None, ""])
def test_without_a_token_none_is_under_way(token: str | None) -> None:
    assert Walk.from_token(token) is None


@pytest.mark.parametrize(
    "token", ["x", "[]", "{}", '{"stage": "?"}', '{"stage": "listing", "a": 1}']
)
def test_a_token_that_cannot_be_read_begins_the_walk_anew(token: str) -> None:
    assert Walk.from_token(token) == Walk(compares=True)
