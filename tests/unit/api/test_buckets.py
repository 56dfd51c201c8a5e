"""Whoever does something too often is put off, each for itself, and may again after a while."""

from datetime import timedelta

from clock import SettableClock
from emailsync.api.buckets import REMEMBERED, Buckets

SIZE = 10
REFILLED_EVERY_S = 6.0


def buckets(clock: SettableClock) -> Buckets:
    return Buckets(clock, size=SIZE, refilled_every_s=REFILLED_EVERY_S)


def test_a_few_times_are_free_and_more_are_put_off(clock: SettableClock) -> None:
    filled = buckets(clock)
    waits = []

    for _ in range(SIZE + 2):
        waits.append(filled.wait_s("198.51.100.1"))
        filled.note("198.51.100.1")

    assert waits[:SIZE] == [0] * SIZE
    assert waits[SIZE:] == [REFILLED_EVERY_S, 2 * REFILLED_EVERY_S]
    assert filled.wait_s("198.51.100.2") == 0


def test_who_waits_as_long_as_told_may_try_once_more(clock: SettableClock) -> None:
    filled = buckets(clock)
    for _ in range(SIZE):
        filled.note("a")

    clock.advance(timedelta(seconds=filled.wait_s("a")))

    assert filled.wait_s("a") == 0
    filled.note("a")
    assert filled.wait_s("a") == REFILLED_EVERY_S


def test_a_flood_of_names_takes_no_more_memory_than_it_may(clock: SettableClock) -> None:
    filled = buckets(clock)

    for number in range(REMEMBERED + 10):
        for _ in range(SIZE):
            filled.note(f"{number}")

    assert filled.wait_s("0") == 0
    assert filled.wait_s(f"{REMEMBERED}") > 0
