"""What is shown of everything at once; what the store tells is shown as it tells it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from emailsync.api.provider_models import Run
from emailsync.domain.accounts import AccountStatus, ProviderType
from emailsync.domain.freshness import Activity
from emailsync.domain.priority import QueueName
from emailsync.domain.quota_use import QuotaLevel
from emailsync.store.monitor import AccountRun, FolderInfo, Mail, OpenCircuit, Span


class Standing(BaseModel):
    """How many accounts of a type and priority stand alike."""

    provider_type: ProviderType
    priority: Literal["critical", "high", "normal", "low"]
    status: AccountStatus
    activity: Activity
    accounts: int
    failing: int  #: of these, the ones whose last run failed or was asked to wait
    open_circuits: int  #: of these, the ones whose own circuit is not closed
    due_for_s: float  #: the longest wait of one that is due; means nothing while stopped
    unsynced_s: float  #: by how much the least fresh one is older than its interval allows


class Pace(BaseModel):
    """The last ten minutes."""

    span_s: float  #: the length of each span, in seconds
    spans: list[Span]  #: the latest last


class QueueLoad(BaseModel):
    """What one queue of this daemon holds, and what it did since the daemon started."""

    queue: QueueName
    workers: int
    running: int
    waiting: int
    lag_s: float  #: the longest wait of an account that is due, in any daemon
    completed: int
    failed: int
    average_duration_ms: float | None


class ProviderLoad(BaseModel):
    """How much this daemon asks of the providers of one type."""

    provider_type: ProviderType
    running: int  #: syncs under way
    concurrent: int  #: how many may be, in all daemons together
    quotas: list[QuotaLevel]  #: of our share of what the provider allows


class DaemonLoad(BaseModel):
    """What the daemon that answers does."""

    instances: int  #: daemons that share the work
    queues: list[QueueLoad]
    providers: list[ProviderLoad]


class Overview(BaseModel):
    """Everything at one moment; of a tenant's own accounts for a tenant's token."""

    now: datetime
    standings: list[Standing]
    mail: Mail
    pace: Pace
    circuits: list[OpenCircuit]  #: the ones that keep the most accounts back
    daemon: DaemonLoad | None  #: null for a tenant's token


class RecentRun(Run):
    """How a sync went, and whose it was."""

    tenant_id: str
    provider_id: UUID
    provider_type: ProviderType
    email_address: str

    @classmethod
    def of_account(cls, run: AccountRun) -> "RecentRun":
        """Return a run as it is shown."""
        return cls(
            **Run.of(run.run).model_dump(),
            tenant_id=run.key.tenant_id,
            provider_id=run.key.account_id,
            provider_type=run.provider_type,
            email_address=run.email_address,
        )


class RecentRuns(BaseModel):
    """Runs of all accounts, the latest first."""

    items: list[RecentRun]


class FolderPage(BaseModel):
    """Folders, by path."""

    items: list[FolderInfo]
    next_cursor: str | None
