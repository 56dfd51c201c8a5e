"""Whom the demo invents: tenants of every priority, with one to three mailboxes of any type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final

from emailsync.crypto import KeyRing, Secret
from emailsync.domain.accounts import ProviderType, TenantId
from emailsync.emulators.imap_server import LOOPBACK
from emailsync.store.accounts import AccountStore, NewAccount
from emailsync.store.database import Database
from emailsync.store.queries import load_queries

SQL: Final = load_queries("demo")

MESSAGES_IN_ALL = 2_000  #: the mail host keeps them in memory
MESSAGES_PER_MAILBOX = (3, 60)  #: at least and at most

TYPES: Sequence[ProviderType] = tuple(ProviderType)

#: Plan and time since the last login; tenants take turns. Most are idle, as everywhere.
KINDS: Sequence[tuple[str | None, timedelta | None]] = (
    ("premium", timedelta(minutes=3)),
    ("basic", timedelta(minutes=20)),
    ("basic", timedelta(hours=7)),
    ("basic", timedelta(days=12)),
    (None, None),
)


@dataclass(frozen=True, slots=True)
class DemoMailbox:
    """One account and what lies in it at first."""

    kind: ProviderType
    email: str
    secret: str  #: password or refresh token
    messages: int
    seed: int


@dataclass(frozen=True, slots=True)
class DemoTenant:
    """One customer of the application."""

    name: str
    plan: str | None
    last_login_at: datetime | None
    mailboxes: Sequence[DemoMailbox]


def plan_tenants(count: int) -> Sequence[DemoTenant]:
    """Return `count` tenants, the same ones each time but for their last logins."""
    sizes = [1 + number % 3 for number in range(count)]
    firsts = accumulate(sizes, initial=0)
    smallest, largest = MESSAGES_PER_MAILBOX
    messages = min(max(MESSAGES_IN_ALL // sum(sizes), smallest), largest)
    return [
        _tenant(number, first, size, messages)
        for number, (first, size) in enumerate(zip(firsts, sizes, strict=False), start=1)
    ]


async def enrol(
    database: Database,
    keys: KeyRing,
    tenants: Sequence[DemoTenant],
    imap_port: int,
    api_urls: Mapping[ProviderType, str],
) -> None:
    """Make the tenants as an application does, and their accounts as an operator does."""
    accounts = AccountStore(database, keys)
    for tenant in tenants:
        async with database.connection() as connection:
            await connection.execute(
                SQL["add_tenant"], tenant.name, tenant.plan, tenant.last_login_at
            )
        for mailbox in tenant.mailboxes:
            api_url = api_urls.get(mailbox.kind)
            await accounts.add(_account(tenant, mailbox, imap_port, api_url))


def _account(
    tenant: DemoTenant, mailbox: DemoMailbox, imap_port: int, api_url: str | None
) -> NewAccount:
    settings: dict[str, Any] = {}
    credentials = {"refresh_token": Secret(mailbox.secret)}
    if mailbox.kind is ProviderType.IMAP:
        settings = {"host": LOOPBACK, "port": imap_port, "security": "none"}
        settings["username"] = mailbox.email
        credentials = {"password": Secret(mailbox.secret)}
    return NewAccount(
        tenant_id=TenantId(tenant.name),
        provider_type=mailbox.kind,
        email_address=mailbox.email,
        settings=settings,
        credentials=credentials,
        api_url=api_url,
    )


def _tenant(number: int, first: int, size: int, messages: int) -> DemoTenant:
    """Return a tenant; `first` is the number of its first account, by which types take turns."""
    plan, idle = KINDS[number % len(KINDS)]
    domain = f"tenant-{number:03}.example"
    return DemoTenant(
        name=f"tenant-{number:03}",
        plan=plan,
        last_login_at=datetime.now(UTC) - idle if idle is not None else None,
        mailboxes=[
            DemoMailbox(
                kind=TYPES[(first + i) % len(TYPES)],
                email=f"user{i + 1}@{domain}",
                secret=f"secret-{number}-{i + 1}",
                messages=messages,
                seed=first + i,
            )
            for i in range(size)
        ],
    )
