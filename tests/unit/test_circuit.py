"""The circuit breaker, row by row of its table."""

from datetime import UTC, datetime, timedelta

from emailsync.domain.circuit import (
    Circuit,
    CircuitState,
    after_failure,
    after_success,
    may_try,
    probing,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMEOUT = timedelta(minutes=5)


def failing(circuit: Circuit, times: int, *, at: datetime = NOW) -> Circuit:
    for _ in range(times):
        circuit = after_failure(circuit, at, threshold=5, timeout=TIMEOUT)
    return circuit


def test_four_failures_in_a_row_leave_it_closed_and_the_fifth_opens_it() -> None:
    fourth = failing(Circuit(), 4)
    fifth = failing(fourth, 1)

    assert fourth == Circuit(CircuitState.CLOSED, 4)
    assert may_try(fourth, NOW)
    assert fifth == Circuit(CircuitState.OPEN, 5, NOW + TIMEOUT)
    assert not may_try(fifth, NOW)


def test_a_success_in_between_starts_the_count_again() -> None:
    circuit = failing(after_success(failing(Circuit(), 4)), 4)

    assert circuit.state is CircuitState.CLOSED


def test_an_open_circuit_lets_exactly_one_probe_through_when_its_time_has_come() -> None:
    opened = failing(Circuit(), 5)
    later = NOW + TIMEOUT

    may_probe = may_try(opened, later)
    probed = probing(opened, later, timeout=TIMEOUT)

    assert may_probe
    assert probed == Circuit(CircuitState.HALF_OPEN, 5, later + TIMEOUT)
    assert not may_try(probed, later)


def test_a_probe_that_succeeds_closes_the_circuit() -> None:
    circuit = after_success(probing(failing(Circuit(), 5), NOW, timeout=TIMEOUT))

    assert circuit == Circuit()


def test_a_probe_that_fails_opens_it_for_another_timeout() -> None:
    later = NOW + TIMEOUT
    probed = probing(failing(Circuit(), 5), later, timeout=TIMEOUT)

    circuit = failing(probed, 1, at=later)

    assert circuit == Circuit(CircuitState.OPEN, 6, later + TIMEOUT)


def test_a_probe_whose_holder_vanished_is_given_away_again() -> None:
    probed = probing(failing(Circuit(), 5), NOW, timeout=TIMEOUT)

    assert may_try(probed, NOW + TIMEOUT)


def test_failures_of_runs_that_began_earlier_do_not_postpone_the_probe() -> None:
    opened = failing(Circuit(), 5)

    still_open = failing(opened, 3, at=NOW + timedelta(minutes=4))

    assert still_open == Circuit(CircuitState.OPEN, 8, NOW + TIMEOUT)
