"""The circuit breaker: after enough failures in a row nobody tries, then one probe decides.

It serves accounts and endpoints alike and knows neither; the store keeps the value.

| state     | event                     | becomes   | failures | retry_at      |
|-----------|---------------------------|-----------|----------|---------------|
| CLOSED    | failure below threshold   | CLOSED    | + 1      | None          |
| CLOSED    | failure at threshold      | OPEN      | + 1      | now + timeout |
| CLOSED    | success                   | CLOSED    | 0        | None          |
| OPEN      | asked before retry_at     | refused   |          |               |
| OPEN      | asked from retry_at on    | HALF_OPEN | same     | now + timeout |
| OPEN      | failure of an older run   | OPEN      | + 1      | same          |
| HALF_OPEN | asked before retry_at     | refused   |          |               |
| HALF_OPEN | asked from retry_at on    | HALF_OPEN | same     | now + timeout |
| HALF_OPEN | failure                   | OPEN      | + 1      | now + timeout |
| any       | success                   | CLOSED    | 0        | None          |

HALF_OPEN's `retry_at` is when a probe that never reported is given up and another may go.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class CircuitState(StrEnum):
    """The values are stored."""

    CLOSED = "CLOSED"  #: everybody may try
    OPEN = "OPEN"  #: nobody may before `retry_at`
    HALF_OPEN = "HALF_OPEN"  #: one probe is on its way


@dataclass(frozen=True, slots=True)
class Circuit:
    """`retry_at` is None exactly while CLOSED."""

    state: CircuitState = CircuitState.CLOSED
    failures: int = 0  #: in a row
    retry_at: datetime | None = None


def after_failure(
    circuit: Circuit, now: datetime, *, threshold: int, timeout: timedelta
) -> Circuit:
    """Return the circuit after one more failure."""
    failures = circuit.failures + 1
    if circuit.state is CircuitState.OPEN:
        return replace(circuit, failures=failures)
    if circuit.state is CircuitState.CLOSED and failures < threshold:
        return replace(circuit, failures=failures)
    return Circuit(CircuitState.OPEN, failures, now + timeout)


def after_success(_circuit: Circuit) -> Circuit:
    """Return the circuit after a success: whatever it was, somebody got through."""
    return Circuit()


def may_try(circuit: Circuit, now: datetime) -> bool:
    """Return whether somebody may try now; what is not CLOSED must then be taken by `probing`."""
    return circuit.retry_at is None or now >= circuit.retry_at


def probing(circuit: Circuit, now: datetime, *, timeout: timedelta) -> Circuit:
    """Return the circuit once its probe is given away: nobody else may try for `timeout`."""
    return Circuit(CircuitState.HALF_OPEN, circuit.failures, now + timeout)
