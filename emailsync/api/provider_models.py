"""What is sent and shown of accounts. No secret is ever shown, not even that there is one."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, Field, RootModel, SecretStr

from emailsync.api.endpoints import Sent
from emailsync.api.fields import NO_NUL, Address, Line, PageQuery, TenantText
from emailsync.crypto import Secret
from emailsync.domain.accounts import AccountStatus, ProviderType
from emailsync.domain.circuit import CircuitState
from emailsync.domain.freshness import Activity
from emailsync.domain.priority import Priority
from emailsync.domain.runs import RunResult
from emailsync.providers.imap.account_settings import Security
from emailsync.store.accounts import AccountInfo, RunInfo

SecretText = Annotated[SecretStr, Field(min_length=1, max_length=20_000)]
Host = Annotated[str, Field(min_length=1, max_length=253, pattern=NO_NUL)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Directory = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.\-]{0,252}$",
        description="Microsoft's directory: its id or domain.",
    ),
]
Issuer = Annotated[
    Literal["google", "microsoft"], Field(description="Whose tokens open the server.")
]
GoogleAuth = Literal["user", "service_account"]
Permission = Literal["delegated", "application"]


class ImapServer(Sent):
    """Where an IMAP mailbox is, and how it is opened: by a password, or with `oauth` by tokens.

    Without a host, the server of the address is looked for.
    """

    host: Host | None = None
    port: Port | None = None
    security: Security | None = None
    username: Line | None = None
    oauth: Issuer | None = None
    auth: GoogleAuth | None = None
    permission: Permission | None = None
    tenant: Directory | None = None


class GoogleSignIn(Sent):
    """How a Gmail mailbox is opened: by its owner's token, or by our service account."""

    auth: GoogleAuth | None = None


class MicrosoftSignIn(Sent):
    """How a Microsoft mailbox is opened: by its owner's token, or by our application."""

    permission: Permission | None = None
    tenant: Directory | None = None


class Credentials(Sent):
    """The one secret that an account has; none for service accounts and applications."""

    password: SecretText | None = None
    refresh_token: SecretText | None = None

    def secrets(self) -> dict[str, Secret]:
        """Return what was given, by name."""
        given = {"password": self.password, "refresh_token": self.refresh_token}
        return {
            name: Secret(secret.get_secret_value())
            for name, secret in given.items()
            if secret is not None
        }


class NewImapAccount(Sent):
    """A mailbox on an IMAP server."""

    provider_type: Literal[ProviderType.IMAP]
    tenant_id: TenantText
    email_address: Address
    settings: ImapServer = ImapServer()
    credentials: Credentials


class NewGoogleAccount(Sent):
    """A mailbox at Gmail, for a token that was got elsewhere."""

    provider_type: Literal[ProviderType.GOOGLE]
    tenant_id: TenantText
    email_address: Address
    settings: GoogleSignIn = GoogleSignIn()
    credentials: Credentials = Credentials()


class NewMicrosoftAccount(Sent):
    """A mailbox at Microsoft 365, for a token that was got elsewhere."""

    provider_type: Literal[ProviderType.MICROSOFT]
    tenant_id: TenantText
    email_address: Address
    settings: MicrosoftSignIn = MicrosoftSignIn()
    credentials: Credentials = Credentials()


NewAccountOfAnyType: TypeAlias = NewImapAccount | NewGoogleAccount | NewMicrosoftAccount


class NewProvider(RootModel[Annotated[NewAccountOfAnyType, Field(discriminator="provider_type")]]):
    """An account to be added."""


class SettingsChange(Sent):
    """Settings to be replaced; null removes one, what is left out stays."""

    host: Host | None = None
    port: Port | None = None
    security: Security | None = None
    username: Line | None = None
    oauth: Issuer | None = None
    auth: GoogleAuth | None = None
    permission: Permission | None = None
    tenant: Directory | None = None


class ProviderChange(Sent):
    """What is to become of an account; what is left out stays as it is."""

    settings: SettingsChange = SettingsChange()
    credentials: Credentials | None = None
    is_active: bool | None = None


class ProvidersQuery(PageQuery):
    """Which accounts are listed."""

    tenant_id: TenantText | None = None
    provider_type: ProviderType | None = None
    status: AccountStatus | None = None
    email_address: Address | None = None
    activity: Activity | None = None
    search: Annotated[
        Line | None, Field(description="A part of the address or of the tenant's id.")
    ] = None


class ProviderConfig(BaseModel):
    """An account and how it is."""

    id: UUID
    tenant_id: str
    provider_type: ProviderType
    email_address: str
    settings: dict[str, Any]
    status: AccountStatus
    is_active: bool
    sync_priority: int  #: 1 is the most urgent
    priority: Literal["critical", "high", "normal", "low"]
    activity: Activity
    last_synced_at: datetime | None
    next_sync_at: datetime  #: when it is due
    next_try_at: datetime | None  #: circuits heeded; None: held, due, or a person has to act
    interval_s: float  #: between two syncs of its type and priority
    unsynced_s: float  #: by how much it is older than that, whatever the reason; 0 while stopped
    sync_error_count: int
    last_error: str | None
    last_error_class: str | None
    last_error_at: datetime | None
    circuit_state: CircuitState
    created_at: datetime


class ProviderPage(BaseModel):
    """Accounts, by tenant and id."""

    items: list[ProviderConfig]
    next_cursor: str | None


class Run(BaseModel):
    """How one sync went."""

    id: int
    queue: str
    instance_id: str
    attempt: int
    result: RunResult
    error_class: str | None
    error: str | None
    started_at: datetime
    duration_ms: int
    created: int
    updated: int
    deleted: int
    quarantined: int
    unexplained: int
    fetched_bytes: int

    @classmethod
    def of(cls, run: RunInfo) -> "Run":
        """Return a run as it is shown."""
        facts = {name: getattr(run, name) for name in cls.model_fields if name != "duration_ms"}
        return cls(**facts, duration_ms=round(run.duration.total_seconds() * 1_000))


class RunPage(BaseModel):
    """Runs, the latest first."""

    items: list[Run]
    next_cursor: str | None


class ExplainedProvider(BaseModel):
    """Why an account is where it is."""

    account: ProviderConfig
    because: list[str]
    folders: int
    backfilling_folders: int  #: with older mail to come
    differing_folders: int  #: whose count is not the server's
    stored_messages: int
    remote_messages: int
    next_comparison_at: datetime | None  #: of a folder in full, as each is once a week
    quarantined: int
    runs: list[Run]


class LoginTest(BaseModel):
    """Whether a login works, and if not why."""

    ok: bool
    error_class: str | None = None
    detail: str | None = None


def shown(account: AccountInfo, interval: timedelta) -> ProviderConfig:
    """Return an account as it is shown; `interval` is that of its type and priority."""
    situation = account.situation
    return ProviderConfig(
        id=account.key.account_id,
        tenant_id=account.key.tenant_id,
        provider_type=account.provider_type,
        email_address=account.email_address,
        settings=dict(account.settings),
        status=account.status,
        is_active=account.is_active,
        sync_priority=account.priority,
        priority=PRIORITY_NAMES[account.priority],
        activity=situation.activity(interval),
        last_synced_at=account.last_synced_at,
        next_sync_at=account.next_sync_at,
        next_try_at=situation.next_try_at,
        interval_s=interval.total_seconds(),
        unsynced_s=situation.unsynced_for(interval).total_seconds(),
        sync_error_count=account.sync_error_count,
        last_error=account.last_error,
        last_error_class=account.last_error_class,
        last_error_at=account.last_error_at,
        circuit_state=account.circuit.state,
        created_at=account.created_at,
    )


PRIORITY_NAMES: dict[Priority, Literal["critical", "high", "normal", "low"]] = {
    Priority.CRITICAL: "critical",
    Priority.HIGH: "high",
    Priority.NORMAL: "normal",
    Priority.LOW: "low",
}
