"""What is spent of quotas at the providers, in the provider's units: by a run, and altogether.

A run's is stored with the outcome of a run, so that whoever holds the account next knows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


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


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaLevel:
    """How much of our share of one quota is used right now."""

    of: Literal["project", "mailbox"]  #: all accounts' together, or the mailbox that used the most
    used: int  #: requests under way and waiting ones included
    limit: int
    window_s: float  #: the time that the limit is for
