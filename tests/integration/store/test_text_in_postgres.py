"""Whatever text, JSON or date mail holds, Postgres takes it and gives it back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone

import asyncpg
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emailsync.store.text import pg_json, pg_text, pg_time

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # surrogates (Cs) included
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
ANY_TIME = st.datetimes(
    timezones=st.integers(-14 * 60, 14 * 60).map(
        lambda minutes: timezone(timedelta(minutes=minutes))
    )
)


class Echo:
    """Sends values to Postgres and back, from synchronous code."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._connection = runner.run(asyncpg.connect(url))

    def __call__(self, kind: str, value: object) -> object:
        return self._runner.run(self._connection.fetchval(f"SELECT $1::{kind}", value))

    def close(self) -> None:
        self._runner.run(self._connection.close())


@pytest.fixture
def echo(empty_database_url: str) -> AsyncIterator[Echo]:
    """Postgres as a mirror."""
    with asyncio.Runner() as runner:
        echo = Echo(empty_database_url, runner)
        yield echo
        echo.close()


ROUNDS = settings(
    max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ROUNDS
@given(text=ANY_TEXT)
def test_any_text_is_stored_and_comes_back_as_it_was_scrubbed(echo: Echo, text: str) -> None:
    assert echo("text", pg_text(text)) == pg_text(text)


@ROUNDS
@given(value=ANY_JSON)
def test_any_json_is_stored_and_comes_back_as_it_was_scrubbed(echo: Echo, value: object) -> None:
    encoded = pg_json(value)

    stored = echo("jsonb", encoded)

    assert isinstance(stored, str)
    assert orjson.loads(stored) == orjson.loads(encoded)


@ROUNDS
@given(moment=ANY_TIME)
def test_any_date_is_stored_and_comes_back_clamped(echo: Echo, moment: datetime) -> None:
    assert echo("timestamptz", pg_time(moment)) == pg_time(moment)
