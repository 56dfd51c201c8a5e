"""Everything around the daemon in a load run: PostgreSQL, Dovecot and the emulated providers.

Each is a process of its own that ends with this one, at a round trip's distance; the database is
near. The daemon has its default limits: only addresses and secrets are configured.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg

from dovecot import PASSWORD, DovecotServer, running_dovecot
from emailsync.commands.installation import opened_installation
from emailsync.crypto import Secret
from emailsync.domain.accounts import ProviderType, TenantId
from emailsync.emulators.mail_generator import generate
from emailsync.settings_file import load
from emailsync.store.accounts import NewAccount
from fault_proxy import Ending, FaultProxy, Faults, running_proxy
from installation import Installation, new_installation
from load_crowd import Crowd, LoadMailbox
from measured import RunFailedError
from postgres import running_cluster
from provider_process import ProviderProcess, running_providers
from servers import LOOPBACK

CLIENT_ID: Final = "load-run"
CLIENT_SECRET: Final = "load-run-secret"
APIS: Final = {ProviderType.GOOGLE: "gmail", ProviderType.MICROSOFT: "graph"}
OUTAGE: Final = {"status": 503, "body": "{}"}
RESET: Final = Faults(at_byte=0, ending=Ending.RESET)


@dataclass(slots=True)
class World:
    """What a load run runs in."""

    installation: Installation
    mailboxes: Sequence[LoadMailbox]
    providers: ProviderProcess
    relay: FaultProxy | None  #: in front of Dovecot, if anybody is there
    _distance: Faults

    def fail(self, kind: ProviderType) -> None:
        """Let everything fail at one provider."""
        if kind is not ProviderType.IMAP:
            self.providers.control(APIS[kind], "POST", "faults", [OUTAGE])
        elif self.relay is not None:
            self.relay.to_client = self.relay.to_server = RESET
            self.relay.cut_all()

    def heal(self, kind: ProviderType) -> None:
        """Let it work again."""
        if kind is not ProviderType.IMAP:
            self.providers.control(APIS[kind], "DELETE", "faults")
        elif self.relay is not None:
            self.relay.to_client = self.relay.to_server = self._distance

    def usage(self) -> Mapping[str, Any]:
        """Return what each emulated provider was asked for, by its name."""
        return {name: self.providers.control(name, "GET", "usage") for name in self.providers.urls}

    async def make_all_due(self, connection: "asyncpg.Connection[asyncpg.Record]") -> datetime:
        """Let every account be due now, and tell the daemon; return the moment."""
        moment: datetime = await connection.fetchval(
            """
            WITH due AS (
                UPDATE provider_configs SET next_sync_at = now() WHERE status = 'active' RETURNING 1
            )
            SELECT now() FROM (SELECT count(*), pg_notify('emailsync_wake', '') FROM due) AS told
            """
        )
        return moment


@contextmanager
def running_world(crowd: Crowd, folder: Path, *, round_trip_s: float) -> Iterator[World]:
    """Start and fill all servers and enrol the accounts; end everything with the block."""
    mailboxes = crowd.mailboxes()
    with ExitStack() as stack:
        started = time.monotonic()
        cluster = stack.enter_context(running_cluster())
        providers = stack.enter_context(running_providers(_order(mailboxes, round_trip_s)))
        dovecot = stack.enter_context(running_dovecot())
        _fill(dovecot, mailboxes)
        distance = Faults(latency_s=round_trip_s / 2)
        relay = None
        if any(mailbox.kind is ProviderType.IMAP for mailbox in mailboxes):
            relay = stack.enter_context(running_proxy(dovecot.port))
            relay.to_client = relay.to_server = distance
        url = cluster.url(cluster.create_database("load"))
        installation = new_installation(folder, url, dovecot)
        port = relay.port if relay is not None else dovecot.port
        installation.configure(_settings(providers, folder, port))
        accounts = [_account(mailbox, port, providers) for mailbox in mailboxes]
        asyncio.run(_enrol(installation, crowd, accounts))
        say(f"{len(mailboxes):,} accounts are there after {time.monotonic() - started:.0f} s")
        yield World(installation, mailboxes, providers, relay, distance)


def say(progress: str) -> None:
    """Tell whoever waits how far it is."""
    print(progress, file=sys.stderr, flush=True)


def _order(mailboxes: Sequence[LoadMailbox], round_trip_s: float) -> Mapping[str, Any]:
    """Return the order for the emulators, which enforce the documented quotas."""
    by_token = [mailbox for mailbox in mailboxes if mailbox.kind in APIS]
    return {
        "latency_s": round_trip_s,
        "oauth": {
            "clients": {CLIENT_ID: CLIENT_SECRET},
            "users": [
                {
                    "address": mailbox.email,
                    "client_id": CLIENT_ID,
                    "refresh_token": _token(mailbox),
                }
                for mailbox in by_token
            ],
            "rotation": "new",
        },
    } | {
        api: {
            "mailboxes": [
                {"email": mailbox.email, "messages": mailbox.messages, "seed": mailbox.seed}
                for mailbox in by_token
                if mailbox.kind is kind
            ]
        }
        for kind, api in APIS.items()
    }


def _token(mailbox: LoadMailbox) -> str:
    return f"1//refresh-token-of-{mailbox.email}"


def _fill(dovecot: DovecotServer, mailboxes: Sequence[LoadMailbox]) -> None:
    for mailbox in mailboxes:
        if mailbox.kind is ProviderType.IMAP:
            dovecot.mailbox(mailbox.email).deliver(
                generate(mailbox.seed, index, recipient=mailbox.email)
                for index in range(mailbox.messages)
            )


def _settings(providers: ProviderProcess, folder: Path, imap_port: int) -> Mapping[str, Any]:
    secret = folder / "client-secret"
    secret.touch(mode=0o600)
    secret.write_text(CLIENT_SECRET)
    client = {"client_id": CLIENT_ID, "client_secret_file": str(secret)}
    urls = providers.urls
    return {
        "imap": {"allowed_ports": [imap_port]},
        "oauth": {
            "google": client
            | {"token_url": f"{urls['oauth']}/google/token", "api_url": urls["gmail"]},
            "microsoft": client
            | {"authority": f"{urls['oauth']}/common", "api_url": urls["graph"]},
        },
    }


def _account(mailbox: LoadMailbox, imap_port: int, providers: ProviderProcess) -> NewAccount:
    """Return the account of a mailbox as `account add` would make it."""
    settings: dict[str, Any] = {}
    secret = {"refresh_token": Secret(_token(mailbox))}
    if mailbox.kind is ProviderType.IMAP:
        settings = {"host": LOOPBACK, "port": imap_port, "security": "none"}
        settings["username"] = mailbox.email
        secret = {"password": Secret(PASSWORD)}
    return NewAccount(
        tenant_id=TenantId(mailbox.tenant),
        provider_type=mailbox.kind,
        email_address=mailbox.email,
        settings=settings,
        credentials=secret,
        api_url=providers.urls[APIS[mailbox.kind]] if mailbox.kind in APIS else None,
    )


async def _enrol(installation: Installation, crowd: Crowd, accounts: Sequence[NewAccount]) -> None:
    """Make the tenants as an application does, and their accounts, which are not due yet."""
    if (done := installation.run("migrate")).returncode:
        raise RunFailedError(done.stderr)
    now = datetime.now(UTC)
    connection = await asyncpg.connect(installation.database_url)
    try:
        await connection.executemany(
            "INSERT INTO tenants (id, plan, last_login_at) VALUES ($1, $2, $3)",
            [(person.name, person.plan, now - person.idle) for person in crowd.people()],
        )
    finally:
        await connection.close()
    async with opened_installation(load(installation.settings_file, {})) as opened:
        for account in accounts:
            await opened.accounts.add(account)
        async with opened.database.connection() as rows:
            await rows.execute("UPDATE provider_configs SET next_sync_at = now() + interval '1 d'")
