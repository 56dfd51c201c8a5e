"""Every failure a sync decides about. A class is a decision, not a description.

* SyncError
    * Retryable               again after a backoff; counts as an attempt and for the circuit
        * Unreachable         DNS, TCP, TLS, timeout, 5xx, BYE: counts on the endpoint's circuit too
        * ServerRefused       the server answered NO or BAD to work it should do
    * Throttled               the provider asked for a pause: no attempt, no circuit
    * QuotaSpent              our share of the provider's quota is used up: it goes on when it frees
    * AuthRefused             no retry: the owner must reconnect the account
    * AuthUnproven            a refusal without a code: the third in a row becomes AuthRefused
    * Misconfigured           the operator's settings cannot work: no retry until they change
    * OperatorMustAct         what all accounts share is refused or missing: nobody is parked for it
    * LeaseLost               somebody else owns the account now: stop, write nothing
    * FolderGone              that folder vanished during the sync; the others go on
    * StoreUnavailable        our own database failed: nobody's circuit, again soon

Anything outside this tree is our bug; the worker logs it with its traceback and treats it as
Retryable.
"""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(eq=False)
class SyncError(Exception):
    """A failure with a message fit for the account's `last_error`: never a secret, never mail."""

    message: str

    def __str__(self) -> str:
        """Return the message alone."""
        return self.message


class Retryable(SyncError):
    """The same sync may succeed later."""


class Unreachable(Retryable):
    """The endpoint, not the account, is at fault."""


class ServerRefused(Retryable):
    """The server refused a command that is legal and needed."""


@dataclass(eq=False)
class Throttled(SyncError):
    """The provider asked us to slow down."""

    retry_after: timedelta | None = None  #: what it asked for; None: it named no time


@dataclass(eq=False)
class QuotaSpent(SyncError):
    """Nothing failed: what we allow ourselves of the provider's quota is used up for a while."""

    frees_in: timedelta


class AuthRefused(SyncError):
    """The credentials are dead by the provider's own explicit answer."""


class AuthUnproven(SyncError):
    """The login was refused without saying why."""


class Misconfigured(SyncError):
    """The account's settings, or the daemon's, cannot work as they are."""


class OperatorMustAct(SyncError):
    """Something of the daemon's own keeps accounts waiting, such as its OAuth client's secret."""


class LeaseLost(SyncError):
    """The account's lease epoch moved on, or the account is gone."""


class FolderGone(SyncError):
    """The folder does not exist any more."""


class StoreUnavailable(SyncError):
    """Postgres is unreachable, read-only, full or too slow."""
