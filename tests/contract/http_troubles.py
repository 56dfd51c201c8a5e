"""What the contract's troubles are where mail comes over HTTP."""

from emailsync.emulators.faults import Failure, Fault

MANY = 1_000_000  #: calls, more than a test makes


def from_then_on(after: int) -> range:
    """Return the numbers, from 1, of all calls but so many at first."""
    return range(after + 1, MANY)


def garbage(calls: range) -> Fault:
    """Return the fault by which these calls get a page for people in the place of JSON."""
    return Fault(calls=calls, failure=Failure.HTML)
