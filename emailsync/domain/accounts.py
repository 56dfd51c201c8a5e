"""Who syncs what: tenants, their accounts, and the words for both.

A tenant is the application's customer and is named by the application's own text id; an account
is one mailbox at one provider.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType
from uuid import UUID

TenantId = NewType("TenantId", str)
AccountId = NewType("AccountId", UUID)


class ProviderType(StrEnum):
    """How a mailbox is spoken to; the limits and intervals are set for each."""

    IMAP = "imap"
    GOOGLE = "google"
    MICROSOFT = "microsoft"


class AccountStatus(StrEnum):
    """Whether an account is synced, and who has to act when it is not."""

    ACTIVE = "active"
    NEEDS_RECONNECT = "needs_reconnect"  #: the mailbox's owner: the credentials were refused
    PAUSED = "paused"  #: the operator or the tenant asked for it
    ERROR = "error"  #: the operator: the account's settings cannot work


@dataclass(frozen=True, slots=True)
class AccountKey:
    """The key of a row of `provider_configs`; the tenant comes first in every key."""

    tenant_id: TenantId
    account_id: AccountId


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for one account until somebody else claims it.

    The epoch grows with each claim. Every write names it, so a holder that was paused past its
    lease changes nothing (Kleppmann, "How to do distributed locking", 2016: fencing tokens).
    """

    key: AccountKey
    epoch: int
