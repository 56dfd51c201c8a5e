"""One claimed piece of work: bring one account one slice closer to its mailbox."""

from dataclasses import dataclass
from datetime import datetime

from emailsync.domain.accounts import AccountId, AccountKey, Lease, ProviderType, TenantId
from emailsync.domain.priority import Priority, QueueName, queue_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncJob:
    """An account under lease, waiting in a queue or running.

    There is at most one per account: the lease is the account's only open job.
    """

    key: AccountKey
    provider_type: ProviderType
    endpoint: str  #: "host:port" for IMAP, the API host otherwise; key of the endpoint circuit
    priority: Priority
    weight: float  #: the tenant's share inside a queue, > 0
    epoch: int  #: of the lease, see `Lease`
    attempt: int  #: 1 for a first try; grows while a sync is retried
    crashes: int  #: times in a row that a holder of this account's lease vanished while holding it
    auth_refusals: int  #: logins in a row that were refused without a code
    due_at: datetime  #: when the sync was due; its distance to now is the queue's lag
    last_synced_at: datetime | None
    requested: bool = False  #: somebody asked for it: it goes to the head of HIGH

    @property
    def lease(self) -> Lease:
        """The lease that this job's writes are fenced by."""
        return Lease(self.key, self.epoch)

    @property
    def queue(self) -> QueueName:
        """The queue that this job belongs in."""
        return QueueName.HIGH if self.requested else queue_of(self.priority)


@dataclass(frozen=True, slots=True)
class Moved:
    """The accounts of a tenant, or one of them, have another place in line than when claimed."""

    tenant_id: TenantId
    account_id: AccountId | None = None  #: None: all of the tenant

    def concerns(self, key: AccountKey) -> bool:
        """Tell whether the account is one of them."""
        return self.tenant_id == key.tenant_id and self.account_id in {None, key.account_id}
