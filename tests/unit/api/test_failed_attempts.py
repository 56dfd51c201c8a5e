"""Who guesses tokens is put off, each address for itself, and is let in again after a while."""

from datetime import timedelta

from clock import SettableClock
from emailsync.api.failed_attempts import ALLOWED, REFILLED_EVERY_S, REMEMBERED, FailedAttempts


def test_a_few_wrong_tokens_are_forgiven_and_more_are_put_off(clock: SettableClock) -> None:
    failed = FailedAttempts(clock)
    waits = []

    for _ in range(ALLOWED + 2):
        waits.append(failed.wait_s("198.51.100.1"))
        failed.note("198.51.100.1")

    assert waits[:ALLOWED] == [0] * ALLOWED
    assert waits[ALLOWED:] == [REFILLED_EVERY_S, 2 * REFILLED_EVERY_S]
    assert failed.wait_s("198.51.100.2") == 0


def test_who_waits_as_long_as_told_may_try_once_more(clock: SettableClock) -> None:
    failed = FailedAttempts(clock)
    for _ in range(ALLOWED):
        failed.note("a")

    clock.advance(timedelta(seconds=failed.wait_s("a")))

    assert failed.wait_s("a") == 0
    failed.note("a")
    assert failed.wait_s("a") == REFILLED_EVERY_S


def test_a_flood_of_addresses_takes_no_more_memory_than_it_may(clock: SettableClock) -> None:
    failed = FailedAttempts(clock)

    for number in range(REMEMBERED + 10):
        for _ in range(ALLOWED):
            failed.note(f"{number}")

    assert failed.wait_s("0") == 0
    assert failed.wait_s(f"{REMEMBERED}") > 0
