"""The waits after a failure: the figures of the settings, spread, never undercut."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emailsync.domain.retry import LONGEST, SHORTEST, backoff, throttle_wait

jitters = st.floats(min_value=0, max_value=1, exclude_max=True)
bases = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=1))
waits = st.timedeltas(min_value=-timedelta(days=3650), max_value=timedelta(days=3650))


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 5), (2, 25), (3, 125), (4, 625)])
def test_each_failure_waits_five_times_as_long_as_the_one_before(
    attempt: int, seconds: int
) -> None:
    wait = backoff(attempt, base=timedelta(seconds=5), jitter=0)

    assert wait == timedelta(seconds=seconds)


def test_accounts_that_failed_together_do_not_come_back_together() -> None:
    waits = {backoff(1, base=timedelta(seconds=5), jitter=jitter / 100) for jitter in range(100)}

    assert len(waits) == 100
    assert min(waits) == timedelta(seconds=5)
    assert max(waits) < timedelta(seconds=6)


@given(st.integers(min_value=1, max_value=10_000), bases, jitters)
def test_no_backoff_leaves_its_bounds(attempt: int, base: timedelta, jitter: float) -> None:
    wait = backoff(attempt, base=base, jitter=jitter)

    assert SHORTEST <= wait <= LONGEST


@given(waits, jitters)
def test_a_provider_that_names_a_wait_is_never_called_earlier(
    asked: timedelta, jitter: float
) -> None:
    """Up to an hour: nobody gets the ten years that a broken header asks for."""
    wait = throttle_wait(asked, jitter=jitter)

    assert min(asked, LONGEST) <= wait <= LONGEST
    assert wait >= timedelta(seconds=60)


def test_a_provider_that_names_no_wait_is_left_alone_for_a_minute() -> None:
    wait = throttle_wait(None, jitter=0)

    assert wait == timedelta(seconds=60)


def test_there_is_no_attempt_before_the_first() -> None:
    with pytest.raises(ValueError, match="attempt"):
        backoff(0, base=timedelta(seconds=5), jitter=0)
