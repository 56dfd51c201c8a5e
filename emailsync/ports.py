"""What the layers ask of each other. Above this line nobody knows Postgres, sockets or a provider.

One Protocol a role. Implementations raise only `SyncError` and its subclasses.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from emailsync.crypto import Secret
from emailsync.domain.accounts import AccountKey, Lease, ProviderType
from emailsync.domain.folders import AccountCursor, FolderChanges, FolderId, StoredFolder
from emailsync.domain.jobs import SyncJob
from emailsync.domain.mail import Flags
from emailsync.domain.pages import FetchedPage, PageResult, ReadyPage
from emailsync.domain.priority import QueueName
from emailsync.domain.quota_use import QuotaLevel, QuotaUse
from emailsync.domain.runs import RunRecord


class Clock(Protocol):
    """Time, given from outside so that tests and simulations own it."""

    def now(self) -> datetime:
        """Return the wall clock, aware UTC: for what is stored or shown."""

    def monotonic(self) -> float:
        """Return seconds that never go back: for waits and durations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a provider needs to open a session. The credentials exist in clear only here."""

    key: AccountKey
    provider_type: ProviderType
    email_address: str
    settings: Mapping[str, Any]
    credentials: Mapping[str, Secret]
    careful: bool = False  #: holders of its lease vanished: parse in worker processes only
    has_detached: bool = False  #: a sync that was cut short left messages in no folder
    has_comparison_due: bool = False  #: see `StoredMail.comparison_due`
    cursor: AccountCursor = field(default_factory=AccountCursor)  #: as stored
    quota_use: QuotaUse = field(default_factory=QuotaUse)


@dataclass(frozen=True, slots=True)
class StoredPlacement:
    """One message of a folder as stored; compared with what the server says."""

    message_id: int
    uid: int | None  #: None: from an older generation of the folder, waiting to be adopted
    flags: Flags


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What recognises a stored message without downloading it again."""

    message_id: int  #: `messages.id`
    uid: int | None
    header_message_id: str | None
    size_bytes: int
    received_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One live message as stored, by the name the provider knows it by."""

    message_id: int  #: `messages.id`
    remote_id: str
    flags: Flags
    folders: frozenset[FolderId]  #: empty: detached, to be placed again or settled


class StoredMail(Protocol):
    """What is stored of one account: the session's view, bound to the account and its lease.

    Reads see every page up to the last one without messages, see `MailSession.pages`.
    """

    async def folders(self) -> Sequence[StoredFolder]:
        """Return all live folders, ordered by path."""

    async def save_folders(self, changes: FolderChanges) -> Sequence[StoredFolder]:
        """Apply a listing in one fenced transaction; return all live folders after it.

        Raises:
            LeaseLost: the epoch moved on.
        """

    async def placements(
        self, folder: FolderId, *, from_uid: int, limit: int
    ) -> Sequence[StoredPlacement]:
        """Return up to `limit` placements with uid >= `from_uid`, ascending by uid."""

    async def fingerprints(
        self, folder: FolderId, *, uids: Collection[int] | None
    ) -> Sequence[Fingerprint]:
        """Return the fingerprints of these UIDs, or with None of all that have lost their uid."""

    async def quarantined_uids(self, folder: FolderId) -> Sequence[int]:
        """Return the UIDs of this folder that are quarantined instead of stored."""

    async def lookup(self, remote_ids: Collection[str]) -> Mapping[str, StoredMessage]:
        """Return those of these messages that are stored and live, by remote id."""

    async def inventory(
        self, folder: FolderId | None, *, after: str, limit: int
    ) -> Sequence[StoredMessage]:
        """Return up to `limit` live messages of a folder, or with None of the account.

        They come in the byte order of their remote ids, beginning behind `after`.
        """

    async def detached(self, *, after: str, limit: int) -> Sequence[str]:
        """Return remote ids of live messages that lie in no folder, in byte order as above."""

    async def quarantined_ids(self) -> Sequence[str]:
        """Return the remote ids of the account that are quarantined instead of stored."""

    async def comparison_due(self, *, but: Collection[FolderId]) -> FolderId | None:
        """Return the folder that is to be compared in full next, of all but these; None: none is.

        Each is once a week, for no provider tells of everything; where the counts differ, at once.
        """


class MailSession(Protocol):
    """One authenticated conversation with one account. Not task-safe. Raises only SyncError.

    Opened by `SessionOpener` and used by one task. Cancelling it at any await is safe: nothing
    is remembered but what was yielded and applied.
    """

    def pages(self) -> AsyncGenerator[FetchedPage]:
        """Yield what changed since the stored cursors, removals and new mail before backfill.

        A page without messages is applied before the iteration goes on, so what the session reads
        of `StoredMail` after it is complete; pages with messages may still be on their way.
        The consumer may stop between two pages; what it did not take is found again next time.
        The end of the iteration means that the account is up to date.
        """

    def reconcile(self, folder: FolderId) -> AsyncGenerator[FetchedPage]:
        """Compare the whole folder with the server and yield every difference, a check last.

        It follows `pages`. Where it was cut the next one goes on, or finds fewer differences.
        The page that concludes it says so (`PageChanges.compared`); a folder that cannot be
        compared now yields none.
        """


class SessionOpener(Protocol):
    """Opens sessions of one provider type."""

    def open(
        self, account: Account, stored: StoredMail
    ) -> AbstractAsyncContextManager[MailSession]:
        """Connect and log in; leaving the context always closes the connection.

        Raises:
            Unreachable, Throttled, AuthRefused, AuthUnproven, Misconfigured, OperatorMustAct: see
                errors.py.
        """

    async def test(self, account: Account) -> None:
        """Log in and out again. Raises as `open` does."""

    def quota_levels(self) -> Sequence[QuotaLevel]:
        """Return how much of our share of the provider's quotas is used, where it is counted."""


class CredentialVault(Protocol):
    """Credentials that change while the account is synced: OAuth tokens, which rotate."""

    async def renew(
        self,
        key: AccountKey,
        renewal: Callable[[Mapping[str, Secret]], Awaitable[Mapping[str, Secret] | None]],
    ) -> Mapping[str, Secret]:
        """Let `renewal` replace the credentials while no other task or daemon does.

        `renewal` is given the credentials as they are stored now and returns the new ones, or
        None when the stored ones serve: somebody else was faster. What it returns is committed
        before this returns. No transaction is open while it runs. A renewal whose process died
        holds the others up for half a minute.

        Raises:
            LeaseLost: the account is gone.
            Misconfigured: the credentials cannot be decrypted with the keys at hand.
            Retryable: the renewal took too long, and was given up.
            StoreUnavailable: the new credentials could not be stored, and must not be used.
        """


class Turn(Protocol):
    """The place of a page among its account's pages, several of which may be applied at a time."""

    @property
    def has_come(self) -> bool:
        """Whether every page before this one is committed."""

    async def wait(self) -> None:
        """Return once it has come. If a page before fails, never: the caller is cancelled."""


class MailStore(Protocol):
    """The customer's Postgres, as far as one sync writes it."""

    async def load_account(self, job: SyncJob) -> Account:
        """Return the account with its credentials decrypted.

        Raises:
            LeaseLost: the account is gone or claimed by somebody else.
            Misconfigured: the credentials cannot be decrypted with the keys at hand.
        """

    def stored_mail(self, lease: Lease) -> StoredMail:
        """Return the view that the session of this lease reads."""

    async def apply(self, lease: Lease, page: ReadyPage, turn: Turn | None = None) -> PageResult:
        """Write the page in one transaction; a poisonous message is quarantined, alone.

        It is not committed before its turn has come, nor is a cursor moved; None: it has.

        Raises:
            LeaseLost: the epoch moved on; nothing was written.
            StoreUnavailable: nothing was written.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """Which accounts one queue asks for."""

    queue: QueueName
    limit: int
    tenant_share: int | None = None  #: leases that one tenant may come to hold; None: any number
    only: Collection[AccountKey] | None = None  #: these accounts, due or not; None: what is due
    requested: bool = False  #: what somebody asked for, due or not and whatever its priority


@dataclass(frozen=True, slots=True)
class EndpointVerdict:
    """Whether an endpoint may be tried now."""

    allowed: bool
    retry_at: datetime | None = None  #: when not allowed


class LeaseStore(Protocol):
    """Who syncs which account, and when next. Leases and due times go by the database's clock."""

    async def reprioritise(self) -> int:
        """Recompute priorities from the tenants and pull due times forward; return rows changed."""

    async def claim(self, request: ClaimRequest) -> Sequence[SyncJob]:
        """Lease up to `limit` accounts, fairly between tenants. Skips what others hold."""

    async def next_due(self, queue: QueueName) -> datetime | None:
        """Return when an account of `queue` can be claimed next: due, or its holder overdue."""

    async def extend(self, leases: Collection[Lease]) -> Collection[Lease]:
        """Prolong the leases; return those that are lost."""

    async def release(self, leases: Collection[Lease]) -> None:
        """Give the accounts back unchanged; what is lost already is ignored."""

    async def finish(self, job: SyncJob, record: RunRecord) -> None:
        """Store the outcome, the circuits and the run in one transaction, and release the lease."""

    async def admit(self, job: SyncJob) -> EndpointVerdict:
        """Ask the endpoint's circuit; when its time has come, exactly one caller gets the probe.

        A request for the sync is answered by it: one that comes later asks for another.
        """

    async def heartbeat(self, instance_id: str, *, ttl: timedelta) -> int:
        """Announce this daemon; return how many daemons are alive, at least 1."""

    async def resign(self, instance_id: str) -> None:
        """Take the announcement back: this daemon is no longer alive."""
