"""What an account's runs spend of its mailbox's quota at the provider, in the provider's units.

It is stored with the outcome of a run, so that whoever holds the account next knows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spending:
    """What one earlier run of the account spent."""

    epoch: int  #: of the run's lease: it names the run
    units: int
    seconds_ago: float  #: since its end, by the database's clock


@dataclass(slots=True)
class QuotaUse:
    """One run's. Mutable by design: requests add to it, the outcome of the run tells it."""

    epoch: int | None = None  #: of the run's lease; None: none is held, a login is being tried
    earlier: Sequence[Spending] = ()  #: as stored, by whichever daemon
    is_partly_unknown: bool = False  #: a holder of the lease vanished, and what it spent with it
    units: int = 0
