"""When a stored token is used and when it is renewed, whatever the clock does."""

from datetime import UTC, datetime, timedelta

import pytest

from emailsync.crypto import Secret
from emailsync.providers.oauth.token_set import Granted, TokenSet

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
GRANTED = Granted(access_token=Secret("access"), lifetime=HOUR)


def obtained(at: datetime = NOW, granted: Granted = GRANTED) -> TokenSet:
    return TokenSet(refresh_token=Secret("old")).after(
        granted, at, used=Secret("old"), refused=False
    )


def test_what_is_written_is_read_again_and_other_credentials_stay() -> None:
    tokens = obtained()

    written = tokens.write({"password": Secret("p"), "previous_refresh_token": Secret("x")})

    assert TokenSet.read(written) == tokens
    assert written["password"] == Secret("p")
    assert "previous_refresh_token" not in written
    assert written["expires_at"].reveal() == "2026-03-29T02:30:00+00:00"


@pytest.mark.parametrize(
    ("passed", "fresh", "usable"),
    [
        (timedelta(), True, True),
        (0.79 * HOUR, True, True),
        (0.81 * HOUR, False, True),
        (0.99 * HOUR, False, False),
        (2 * HOUR, False, False),
        (timedelta(minutes=-10), True, True),  # the clock was put back
        (timedelta(hours=-3), False, True),  # by so much that nothing can be said
    ],
)
def test_a_token_is_fresh_for_four_fifths_of_its_life_and_usable_to_its_end(
    *, passed: timedelta, fresh: bool, usable: bool
) -> None:
    tokens = obtained()

    assert tokens.is_fresh(NOW + passed) is fresh
    assert tokens.is_usable(NOW + passed) is usable


@pytest.mark.parametrize("expires_at", ["", "soon", "2026-99-99", "9" * 50])
def test_a_stored_time_that_is_none_means_that_the_token_is_renewed(expires_at: str) -> None:
    tokens = TokenSet.read({"access_token": Secret("a"), "expires_at": Secret(expires_at)})

    assert not tokens.is_fresh(NOW)
    assert not tokens.is_usable(NOW)


def test_a_token_of_which_only_the_end_is_known_serves_until_shortly_before() -> None:
    stored = {"access_token": Secret("a"), "expires_at": Secret("2026-03-29T02:30:00")}

    assert TokenSet.read(stored).is_fresh(NOW + timedelta(minutes=54))
    assert not TokenSet.read(stored).is_fresh(NOW + timedelta(minutes=56))


def test_the_refresh_token_before_is_kept_until_the_new_one_has_worked() -> None:
    rotated = obtained(
        granted=Granted(access_token=Secret("a"), lifetime=HOUR, refresh_token=Secret("new"))
    )

    again = rotated.after(GRANTED, NOW, used=Secret("new"), refused=False)

    assert (rotated.refresh_token, rotated.previous_refresh_token) == (Secret("new"), Secret("old"))
    assert (again.refresh_token, again.previous_refresh_token) == (Secret("new"), None)
