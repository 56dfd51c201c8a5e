"""The settings: one frozen, validated model of the TOML file; the environment overrides it.

Every key has a default but the files of secrets. Nothing here touches the database or the network.
Durations keep the unit of their key (`_ms`, `_s`), so the file, the model and the errors agree.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from emailsync.domain.accounts import ProviderType
from emailsync.domain.priority import Intervals, QueueName
from emailsync.setting_values import (
    Count,
    Crontab,
    DatabaseUrl,
    ListenAddress,
    Milliseconds,
    Seconds,
    WebAddress,
)

LEAST_UNITS = 100  #: of Gmail: the counts of 50 labels are one request, and a sync begins with more
LEAST_REQUESTS = 10  #: to Graph, which begins with fewer
MIN_BEATS_PER_LEASE = 3  #: a lease must outlive two lost heartbeats


class Section(BaseModel):
    """A table of the file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class EmailSyncSettings(Section):
    """`[email_sync]`: whether and when the scheduler looks for due accounts."""

    enabled: bool = True
    cron: Crontab = "*/5 * * * *"
    batch_size: Annotated[int, Field(ge=1, le=1_000)] = 50
    stagger_ms: Annotated[int, Field(ge=0, le=60_000)] = 100
    state_dir: Path | None = None  #: None: the loader finds the usual place


class DatabaseSettings(Section):
    """`[database]`."""

    url: DatabaseUrl = Field(default="embedded", repr=False)
    password_file: Path | None = None  #: None: the URL holds the password, or none is needed
    pool_max: Annotated[int, Field(ge=2, le=19)] = 16
    auto_migrate: bool = True

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password_file is not None and urlsplit(self.url).password:
            raise ValueError("the url holds a password already; keep it or the password_file")
        return self

    @property
    def place(self) -> str:
        """Where the database is, for people: host and name, never who logs in and how."""
        if self.url == "embedded":
            return self.url
        url = urlsplit(self.url)
        if "@" in url.path + url.query + url.fragment:
            return "an external server"  # that may be the end of a password
        host = url.netloc.rpartition("@")[2] or parse_qs(url.query).get("host", [""])[0]
        return host + url.path


class HttpSettings(Section):
    """`[http]`: the health pages; loopback unless said otherwise."""

    listen: ListenAddress = "127.0.0.1:8025"
    token_file: Path | None = None  #: None: `http-token` in the state directory
    public_url: WebAddress | None = None
    return_to_allowed: tuple[WebAddress, ...] = ()  #: beside paths under public_url
    requests_per_second: Annotated[int, Field(ge=1, le=10_000)] = 100  #: of each token

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, an IPv6 address without its brackets."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class CredentialSettings(Section):
    """`[credentials]`."""

    key_file: Path | None = None  #: None: `credentials.key` in the state directory, embedded only


class QueueSettings(Section):
    """`[queues.*]`: one queue's workers, pace and retries."""

    concurrency: Annotated[int, Field(ge=1, le=200)]
    limiter_max: Annotated[int, Field(ge=1, le=10_000)]
    limiter_duration_ms: Annotated[int, Field(ge=1, le=3_600_000)] = 1_000
    attempts: Annotated[int, Field(ge=1, le=20)]
    backoff_ms: Milliseconds


class QueuesSettings(Section):
    """`[queues]`."""

    high: QueueSettings = QueueSettings(concurrency=5, limiter_max=10, attempts=3, backoff_ms=5_000)
    normal: QueueSettings = QueueSettings(
        concurrency=3, limiter_max=5, attempts=2, backoff_ms=10_000
    )
    low: QueueSettings = QueueSettings(concurrency=2, limiter_max=3, attempts=1, backoff_ms=0)

    def of(self, queue: QueueName) -> QueueSettings:
        """Return the settings of one queue."""
        settings: QueueSettings = getattr(self, queue.value)
        return settings


class ProviderLimits(Section):
    """What `[limits.imap]`, `[limits.google]` and `[limits.microsoft]` have in common."""

    concurrent: Count
    per_tenant: Count
    interval_ms: Milliseconds
    utilisation: Annotated[float, Field(gt=0, le=1)] = 0.5  #: of the provider's own limit

    def must_allow(self, key: str, least: int, what: str) -> None:
        """Refuse a limit of which our share is less than `what` takes: nothing would ever run."""
        value = getattr(self, key)
        if value * self.utilisation < least:
            raise ValueError(
                f"{key} ({value}) times utilisation ({self.utilisation:g}) should be at least "
                f"{least}, {what}: {key} at least {-(-least // self.utilisation):.0f}"
            )


class ImapLimits(ProviderLimits):
    """`[limits.imap]`; an account's lease sees to it that its syncs open one connection at once."""

    concurrent: Count = 3
    per_tenant: Count = 1
    interval_ms: Milliseconds = 5_000
    connections_per_account: Count = 10
    connections_per_host: Count = 50

    @model_validator(mode="after")
    def _a_sync_can_begin(self) -> Self:
        self.must_allow("connections_per_account", 1, "the connection that a sync opens")
        return self


class GoogleLimits(ProviderLimits):
    """`[limits.google]`; units are Gmail API quota units."""

    concurrent: Count = 10
    per_tenant: Count = 2
    interval_ms: Milliseconds = 2_000
    prices: Literal["2026", "classic"] = "2026"
    user_units_per_minute: Annotated[int, Field(ge=100, le=1_000_000)] = 6_000
    project_units_per_minute: Annotated[int, Field(ge=100, le=1_000_000_000)] = 1_200_000

    @model_validator(mode="after")
    def _a_sync_can_begin(self) -> Self:
        for key in ("user_units_per_minute", "project_units_per_minute"):
            self.must_allow(key, LEAST_UNITS, "the dearest request and those that begin a sync")
        return self


class MicrosoftLimits(ProviderLimits):
    """`[limits.microsoft]`."""

    concurrent: Count = 8
    per_tenant: Count = 2
    interval_ms: Milliseconds = 3_000
    mailbox_requests_per_10_minutes: Annotated[int, Field(ge=20, le=1_000_000)] = 10_000
    mailbox_concurrent: Annotated[int, Field(ge=1, le=100)] = 4

    @model_validator(mode="after")
    def _a_sync_can_begin(self) -> Self:
        key = "mailbox_requests_per_10_minutes"
        self.must_allow(key, LEAST_REQUESTS, "the requests that begin a sync and one more")
        return self


class LimitsSettings(Section):
    """`[limits]`."""

    imap: ImapLimits = ImapLimits()
    google: GoogleLimits = GoogleLimits()
    microsoft: MicrosoftLimits = MicrosoftLimits()

    def of(self, provider_type: ProviderType) -> ProviderLimits:
        """Return the limits of one provider type."""
        limits: ProviderLimits = getattr(self, provider_type.value)
        return limits


class IntervalSettings(Section):
    """`[intervals.*]`: seconds between two syncs of one account, by priority."""

    critical_s: Seconds
    high_s: Seconds
    normal_s: Seconds
    low_s: Seconds

    @property
    def intervals(self) -> Intervals:
        """The same as the domain knows it."""
        return Intervals(
            critical=timedelta(seconds=self.critical_s),
            high=timedelta(seconds=self.high_s),
            normal=timedelta(seconds=self.normal_s),
            low=timedelta(seconds=self.low_s),
        )


class IntervalsSettings(Section):
    """`[intervals]`."""

    imap: IntervalSettings = IntervalSettings(
        critical_s=600, high_s=1_800, normal_s=3_600, low_s=14_400
    )
    google: IntervalSettings = IntervalSettings(
        critical_s=300, high_s=900, normal_s=1_800, low_s=7_200
    )
    microsoft: IntervalSettings = IntervalSettings(
        critical_s=300, high_s=900, normal_s=1_800, low_s=7_200
    )

    def of(self, provider_type: ProviderType) -> Intervals:
        """Return the intervals of one provider type."""
        settings: IntervalSettings = getattr(self, provider_type.value)
        return settings.intervals


class CircuitSettings(Section):
    """`[circuit_breaker]`."""

    threshold: Annotated[int, Field(ge=1, le=1_000)] = 5
    timeout_ms: Annotated[int, Field(ge=100, le=86_400_000)] = 300_000

    @property
    def timeout(self) -> timedelta:
        """How long an open circuit stays open."""
        return timedelta(milliseconds=self.timeout_ms)


class OAuthClientSettings(Section):
    """What both have in common: the registered client; the URLs point at another host if given."""

    client_id: str | None = None
    client_secret_file: Path | None = None
    token_url: WebAddress | None = None
    auth_url: WebAddress | None = None
    api_url: WebAddress | None = None


class GoogleOAuthSettings(OAuthClientSettings):
    """`[oauth.google]`."""

    service_account_file: Path | None = None  #: a JSON key, with domain-wide delegation


class MicrosoftOAuthSettings(OAuthClientSettings):
    """`[oauth.microsoft]`."""

    authority: WebAddress = "https://login.microsoftonline.com/common"


class OAuthSettings(Section):
    """`[oauth]`."""

    google: GoogleOAuthSettings = GoogleOAuthSettings()
    microsoft: MicrosoftOAuthSettings = MicrosoftOAuthSettings()

    def api_url(self, provider_type: ProviderType) -> str | None:
        """Return where such accounts' API is; None: at its usual place, or it has none."""
        match provider_type:
            case ProviderType.GOOGLE:
                return self.google.api_url
            case ProviderType.MICROSOFT:
                return self.microsoft.api_url
            case ProviderType.IMAP:
                return None


class ImapSettings(Section):
    """`[imap]`: which servers tenants may name."""

    allowed_ports: tuple[Annotated[int, Field(ge=1, le=65_535)], ...] = (143, 993)
    allow_private_hosts: bool = False
    ca_file: Path | None = None
    autoconfig: bool = False  #: whether domains are asked for the servers of their addresses


class RetentionSettings(Section):
    """`[store.retention]`: days after which rows are removed."""

    runs_days: Annotated[int, Field(ge=1, le=36_500)] = 30
    changes_days: Annotated[int, Field(ge=1, le=36_500)] = 30
    deleted_days: Annotated[int, Field(ge=1, le=36_500)] = 30


class StoreSettings(Section):
    """`[store]`: what is kept of a message."""

    raw: bool = True
    max_message_bytes: Annotated[int, Field(ge=65_536, le=157_286_400)] = 52_428_800
    retention: RetentionSettings = RetentionSettings()


class ClusterSettings(Section):
    """`[cluster]`: this daemon among the others on the same database."""

    instance_id: str | None = None  #: None: host name and process id
    lease_s: Annotated[int, Field(ge=3, le=3_600)] = 60
    heartbeat_s: Annotated[int, Field(ge=1, le=600)] = 15

    @model_validator(mode="after")
    def _lease_outlives_lost_heartbeats(self) -> Self:
        if self.lease_s < MIN_BEATS_PER_LEASE * self.heartbeat_s:
            raise ValueError(
                f"lease_s ({self.lease_s}) should be at least {MIN_BEATS_PER_LEASE} times "
                f"heartbeat_s ({self.heartbeat_s}), or healthy daemons lose their accounts"
            )
        return self


class LoggingSettings(Section):
    """`[logging]`."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] | None = None  #: None: console on a terminal, else json


class Settings(Section):
    """The whole file."""

    email_sync: EmailSyncSettings = EmailSyncSettings()
    database: DatabaseSettings = DatabaseSettings()
    http: HttpSettings = HttpSettings()
    credentials: CredentialSettings = CredentialSettings()
    queues: QueuesSettings = QueuesSettings()
    limits: LimitsSettings = LimitsSettings()
    intervals: IntervalsSettings = IntervalsSettings()
    circuit_breaker: CircuitSettings = CircuitSettings()
    oauth: OAuthSettings = OAuthSettings()
    imap: ImapSettings = ImapSettings()
    store: StoreSettings = StoreSettings()
    cluster: ClusterSettings = ClusterSettings()
    logging: LoggingSettings = LoggingSettings()

    @property
    def state_dir(self) -> Path:
        """Where the daemon keeps its own files."""
        assert self.email_sync.state_dir is not None, "settings come from the loader"
        return self.email_sync.state_dir


class LiveSettings:
    """The settings in force. A reload replaces the value; readers take `current` each time."""

    def __init__(self, settings: Settings) -> None:
        self.current = settings
        self.instances = 1  #: live daemons on this database, which share what is counted as a whole
