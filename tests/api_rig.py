"""The API on a real socket, before a real database with one account and its mail."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc
import httpx

from emailsync.api.auth import Gate
from emailsync.api.backend import Backend
from emailsync.api.bell import Bell
from emailsync.api.description import described
from emailsync.api.endpoints import Table
from emailsync.api.resources import Surroundings, resources
from emailsync.api.server import bind, build_api, serve
from emailsync.api.sessions import Sessions
from emailsync.crypto import Secret, token_hash
from emailsync.domain.access import Grant, Scope
from emailsync.domain.accounts import Lease, ProviderType, TenantId
from emailsync.domain.errors import StoreUnavailable
from emailsync.domain.quota_use import QuotaLevel
from emailsync.metrics import Metrics
from emailsync.ports import Account
from emailsync.providers.imap.discovery import ImapServers
from emailsync.providers.oauth.connector import connector
from emailsync.store.accounts import AccountStore
from emailsync.store.connect_flows import ConnectFlows
from emailsync.store.erasure import Erasure
from emailsync.store.feed import ChangeFeed
from emailsync.store.mail_reader import MailReader
from emailsync.store.monitor import Monitor
from emailsync.store.tenants import TenantStore
from emailsync.store.tokens import TokenStore
from emailsync.store.wake import CHANGES, listen
from emailsync.system_clock import SystemClock
from store_rig import KEYS, StoreRig, store_rig

ADMIN = "the-admins-token"
ACME = "the-token-of-acme"
OTHER = "the-token-of-other"
METRICS = "the-token-of-the-metrics"
PASSWORD = "s3cret-of-the-mailbox"
SETTINGS = {
    "host": "imap.example.test",
    "port": 993,
    "security": "tls",
    "username": "ann@example.test",
}
GRANTS = {
    ACME: Grant(Scope.TENANT, TenantId("acme")),
    OTHER: Grant(Scope.TENANT, TenantId("other")),
    METRICS: Grant(Scope.METRICS),
}


class LoginDesk:
    """Stands where logins are tried, and answers as a test says."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.tried: list[Account] = []

    def open(self, *_account_and_stored: object) -> Any:
        """Is for syncing, which nobody does here."""
        raise AssertionError("the API synced an account")

    def quota_levels(self) -> Sequence[QuotaLevel]:
        """Say that half of everybody's quota is used."""
        return [QuotaLevel(of="project", used=50, limit=100, window_s=60)]

    async def test(self, account: Account) -> None:
        """Note the account, and fail if a test says so."""
        self.tried.append(account)
        if self.failure is not None:
            raise self.failure


@dataclass
class ApiRig:
    """The API and what is behind it."""

    mail: StoreRig  #: the account of the tenant acme
    url: str
    backend: Backend
    table: Table
    desk: LoginDesk
    bell: Bell = field(default_factory=Bell)
    is_away: bool = False  #: the database
    headers: Mapping[str, str] = field(default_factory=lambda: bearer(ADMIN))

    @property
    def account(self) -> str:
        """The path of the account."""
        return f"/providers/{self.mail.lease.key.account_id}"

    def client(self, token: str | None = ADMIN) -> httpx.AsyncClient:
        """Return a client that shows this token."""
        headers = {} if token is None else bearer(token)
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30)

    async def get(self, path: str, token: str | None = ADMIN, **options: Any) -> httpx.Response:
        """Return the answer to a GET."""
        return await self.ask("GET", path, token, **options)

    async def ask(
        self, method: str, path: str, token: str | None = ADMIN, **options: Any
    ) -> httpx.Response:
        """Return the answer to a request."""
        async with self.client(token) as client:
            return await client.request(method, path, **options)

    def reach(self) -> Backend:
        """Return the backend, unless it is away."""
        if self.is_away:
            raise StoreUnavailable("away")
        return self.backend


def bearer(token: str) -> dict[str, str]:
    """Return the header that shows a token."""
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def api_rig(url: str) -> AsyncIterator[ApiRig]:
    """Serve the API on a migrated database until the block ends."""
    async with (
        store_rig(url) as mail,
        connector(mail.settings, SystemClock()) as redeemer,
        anyio.create_task_group() as group,
    ):
        desk = LoginDesk()
        database = mail.database
        backend = Backend(
            accounts=AccountStore(database, KEYS),
            tenants=TenantStore(database, mail.settings),
            mail=MailReader(database),
            feed=ChangeFeed(database),
            erasure=Erasure(database),
            tokens=TokenStore(database),
            monitor=Monitor(database),
            flows=ConnectFlows(database, KEYS),
            connector=redeemer,
            servers=ImapServers(None),
            openers=dict.fromkeys(ProviderType, desk),
        )
        rig = ApiRig(mail=mail, url="", backend=backend, table=(), desk=desk)
        await _set_up_account(rig)
        await _serve(rig, url, group)
        for token, grant in GRANTS.items():
            await backend.tokens.add(token, token_hash(token.encode()), grant, expires_at=None)
        yield rig
        group.cancel_scope.cancel()


async def _set_up_account(rig: ApiRig) -> None:
    key = rig.mail.lease.key
    account = await rig.backend.accounts.get(key.account_id, key.tenant_id)
    assert account is not None
    credentials = {"password": Secret(PASSWORD)}
    await rig.backend.accounts.change(
        account, settings=SETTINGS, credentials=credentials, is_active=True
    )
    rig.mail.lease = Lease(key, rig.mail.lease.epoch + 1)


async def _serve(rig: ApiRig, database_url: str, group: anyio.abc.TaskGroup) -> None:
    clock = SystemClock()

    async def is_ready() -> bool:
        return not rig.is_away

    async def find(sha256: bytes) -> Grant | None:
        return await rig.reach().tokens.find(sha256)

    async def list_all() -> Collection[bytes]:
        return await rig.reach().tokens.hashes()

    sessions = Sessions(clock, is_secure=False)
    gate = Gate([Secret(ADMIN)], find, list_all, clock, sessions, requests_per_s=1_000)
    rig.table = resources(
        Surroundings(
            reach=rig.reach,
            gate=gate,
            sessions=sessions,
            bell=rig.bell,
            settings=rig.mail.settings,
            clock=clock,
            metrics=Metrics(),
            is_ready=is_ready,
        )
    )
    listener = bind("127.0.0.1", 0)
    rig.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    group.start_soon(serve, build_api(rig.table, gate), listener)
    rig.table = described(rig.table)
    listening = anyio.Event()

    def heard(payload: str) -> None:
        listening.set()
        rig.bell.ring(TenantId(payload) if payload else None)

    group.start_soon(listen, database_url, {CHANGES: heard})
    await listening.wait()
