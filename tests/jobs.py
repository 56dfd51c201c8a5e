"""Jobs to schedule, named by tenant and number."""

from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from emailsync.domain.accounts import AccountId, AccountKey, ProviderType, TenantId
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority
from emailsync.simulation.virtual_time import START


def key_of(tenant: str, number: int = 0) -> AccountKey:
    """Return the key of a tenant's account; always the same for the same arguments."""
    return AccountKey(TenantId(tenant), AccountId(uuid5(NAMESPACE_URL, f"{tenant}/{number}")))


def job_of(
    tenant: str,
    number: int = 0,
    *,
    provider_type: ProviderType = ProviderType.IMAP,
    priority: Priority = Priority.HIGH,
    endpoint: str | None = None,
    weight: float = 1,
    attempt: int = 1,
    epoch: int = 1,
    due_at: datetime = START,
    last_synced_at: datetime | None = None,
    requested: bool = False,
) -> SyncJob:
    """Return a claimed job; unless told otherwise each has an endpoint of its own tenant."""
    return SyncJob(
        key=key_of(tenant, number),
        provider_type=provider_type,
        endpoint=endpoint or f"{tenant}.example.test:993",
        priority=priority,
        weight=weight,
        epoch=epoch,
        attempt=attempt,
        crashes=0,
        auth_refusals=0,
        due_at=due_at,
        last_synced_at=last_synced_at,
        requested=requested,
    )
