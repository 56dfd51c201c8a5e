"""Whom the demo invents: tenants of every priority, each with one to three mailboxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from emailsync.crypto import KeyRing, Secret
from emailsync.domain.accounts import ProviderType, TenantId
from emailsync.emulators.imap_server import LOOPBACK
from emailsync.store.accounts import AccountStore, NewAccount
from emailsync.store.database import Database
from emailsync.store.queries import load_queries

SQL: Final = load_queries("demo")

MESSAGES_IN_ALL = 2_000  #: the mail host keeps them in memory
MESSAGES_PER_MAILBOX = (3, 60)  #: at least and at most

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

    email: str
    password: str
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
    smallest, largest = MESSAGES_PER_MAILBOX
    messages = min(max(MESSAGES_IN_ALL // sum(sizes), smallest), largest)
    return [_tenant(number, size, messages) for number, size in enumerate(sizes, start=1)]


async def enrol(
    database: Database, keys: KeyRing, tenants: Sequence[DemoTenant], imap_port: int
) -> None:
    """Make the tenants as an application does, and their accounts as an operator does."""
    accounts = AccountStore(database, keys)
    for tenant in tenants:
        async with database.connection() as connection:
            await connection.execute(
                SQL["add_tenant"], tenant.name, tenant.plan, tenant.last_login_at
            )
        for mailbox in tenant.mailboxes:
            await accounts.add(_account(tenant, mailbox, imap_port))


def _account(tenant: DemoTenant, mailbox: DemoMailbox, imap_port: int) -> NewAccount:
    return NewAccount(
        tenant_id=TenantId(tenant.name),
        provider_type=ProviderType.IMAP,
        email_address=mailbox.email,
        settings={
            "host": LOOPBACK,
            "port": imap_port,
            "security": "none",
            "username": mailbox.email,
        },
        credentials={"password": Secret(mailbox.password)},
    )


def _tenant(number: int, size: int, messages: int) -> DemoTenant:
    plan, idle = KINDS[number % len(KINDS)]
    domain = f"tenant-{number:03}.example"
    return DemoTenant(
        name=f"tenant-{number:03}",
        plan=plan,
        last_login_at=datetime.now(UTC) - idle if idle is not None else None,
        mailboxes=[
            DemoMailbox(f"user{i}@{domain}", f"password-{number}-{i}", messages, number * 10 + i)
            for i in range(1, size + 1)
        ],
    )
