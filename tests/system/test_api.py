"""The API of the real daemon: what is asked for happens at once, without a tick."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio
import httpx

from dovecot import DovecotServer
from dovecot_mailbox import DovecotMailbox
from emailsync.crypto import KeyRing, Secret
from emailsync.domain.accounts import ProviderType, TenantId
from emailsync.store.accounts import AccountStore, NewAccount
from emailsync.store.database import open_database
from installation import Installation

MAIL = b"Subject: hello\r\n\r\nworld\r\n"
NO_TICKS = {"email_sync": {"cron": "0 0 1 1 *"}}
ACCOUNTS = 50
SYNCED_EARLIER = """
UPDATE provider_configs SET sync_priority = 4, last_synced_at = now() - interval '40 minutes',
    next_sync_at = now() + interval '200 minutes'
"""


def client_of(installation: Installation, token: str | None = None) -> httpx.AsyncClient:
    """Return a client with a token, or with the admin's."""
    state = Path(installation.settings["email_sync"]["state_dir"])
    shown = token or (state / "http-token").read_text().strip()
    headers = {"Authorization": f"Bearer {shown}"}
    return httpx.AsyncClient(base_url=installation.http_url, headers=headers, timeout=60)


def new_provider(mailbox: DovecotMailbox, tenant: str = "acme") -> dict[str, object]:
    """Return what adds the mailbox."""
    return {
        "tenant_id": tenant,
        "provider_type": "imap",
        "email_address": mailbox.user,
        "settings": settings_of(mailbox),
        "credentials": {"password": mailbox.password},
    }


def settings_of(mailbox: DovecotMailbox) -> dict[str, object]:
    return {
        "host": mailbox.host,
        "port": mailbox.port,
        "security": "none",
        "username": mailbox.user,
    }


async def add_idle(installation: Installation, mailboxes: Sequence[DovecotMailbox]) -> None:
    """Add accounts that were synced a while ago and are due in hours."""
    keys = KeyRing.load(Path(installation.settings["credentials"]["key_file"]))
    async with open_database(installation.database_url, pool_max=2) as database:
        for mailbox in mailboxes:
            await AccountStore(database, keys).add(
                NewAccount(
                    tenant_id=TenantId("acme"),
                    provider_type=ProviderType.IMAP,
                    email_address=mailbox.user,
                    settings=settings_of(mailbox),
                    credentials={"password": Secret(mailbox.password)},
                )
            )
    await installation.fetch(SYNCED_EARLIER)


async def test_the_accounts_of_a_tenant_that_logs_in_start_within_ten_seconds(
    installation: Installation, dovecot: DovecotServer
) -> None:
    """Fifty LOW accounts, due in hours as such and now as HIGH; no tick comes here."""
    installation.configure(NO_TICKS)
    await add_idle(
        installation, [dovecot.mailbox(f"many{n}@example.test") for n in range(ACCOUNTS)]
    )

    async with installation.daemon() as daemon, client_of(installation) as client:
        asked_at = datetime.now(UTC)
        login = {"last_login_at": asked_at.isoformat()}
        answer = await client.put("/tenants/acme", json=login)
        await daemon.wait_for_event("sync.job_finished", count=ACCOUNTS, queue="high")
        await daemon.terminate()

    runs = await installation.fetch("SELECT max(started_at) AS last, count(*) FROM sync_runs")
    assert answer.json()["priority"] == "high"
    assert runs[0]["count"] == ACCOUNTS
    assert (runs[0]["last"] - asked_at).total_seconds() < 10


async def test_an_account_is_added_synced_read_and_removed_over_http(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    mailbox.append(MAIL)
    installation.configure(NO_TICKS)

    async with installation.daemon() as daemon, client_of(installation) as client:
        added = await client.post("/providers", json=new_provider(mailbox))
        changes = await client.get("/changes", params={"wait_s": 30})
        (change,) = changes.json()["items"]
        message = f"/tenants/acme/messages/{change['message_id']}"
        raw = await client.get(f"{message}/raw")
        await daemon.wait_for_event("sync.job_finished", result="done")
        tested = await client.post(f"/providers/{added.json()['id']}/test")
        removed = await client.delete(f"/providers/{added.json()['id']}")
        left = await client.get("/tenants/acme/messages")
        await daemon.terminate()

    assert (added.status_code, tested.json()["ok"], removed.status_code) == (201, True, 204)
    assert raw.content == MAIL
    assert left.json()["items"] == []


async def test_a_sync_that_is_asked_for_runs_in_high_though_nothing_is_due(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    installation.configure(NO_TICKS)
    await add_idle(installation, [mailbox])

    async with installation.daemon() as daemon, client_of(installation) as client:
        (account,) = (await client.get("/providers")).json()["items"]
        mailbox.append(MAIL)
        asked = await client.post(f"/providers/{account['id']}/sync")
        await daemon.wait_for_event("sync.job_finished", queue="high", result="done", created=1)
        await daemon.terminate()

    assert (account["priority"], asked.status_code) == ("low", 202)
    assert await installation.stored(mailbox.user) == mailbox.snapshot()


async def test_new_credentials_reconnect_an_account_at_once(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    installation.configure(NO_TICKS)
    wrong = new_provider(mailbox) | {"credentials": {"password": "wrong"}}

    async with installation.daemon() as daemon, client_of(installation) as client:
        path = f"/providers/{(await client.post('/providers', json=wrong)).json()['id']}"
        await daemon.wait_for_event("sync.job_finished", result="needs_reconnect")
        parked = (await client.get(path)).json()
        explained = (await client.get(f"{path}/explain")).json()
        right = {"credentials": {"password": mailbox.password}}
        await client.patch(path, json=right)
        await daemon.wait_for_event("sync.job_finished", result="done")
        again = (await client.get(path)).json()
        await daemon.terminate()

    assert (parked["status"], again["status"]) == ("needs_reconnect", "active")
    assert "PATCH /providers" in explained["because"][0]


async def test_tokens_are_made_listed_and_removed_by_a_command(installation: Installation) -> None:
    async with installation.daemon() as daemon:
        made = {
            name: installation.run("token", "add", name, *words)
            for name, words in {
                "ops": ("--scope", "admin"),
                "acme's": ("--scope", "tenant", "--tenant", "acme", "--days", "30"),
                "prometheus": ("--scope", "metrics"),
            }.items()
        }
        wrong = [
            installation.run("token", "add", "ops", "--scope", "admin"),
            installation.run("token", "add", "x", "--scope", "tenant"),
            installation.run("token", "add", "x", "--scope", "admin", "--tenant", "acme"),
            installation.run("token", "remove", "nobody's"),
        ]
        listed = json.loads(installation.run("token", "list", "--json").stdout)
        tokens = {name: done.stdout.strip() for name, done in made.items()}
        before = [await status(installation, token) for token in tokens.values()]
        installation.run("token", "remove", "ops")
        after = await status(installation, tokens["ops"])
        await daemon.terminate()

    assert [done.returncode for done in wrong] == [1, 2, 2, 2]
    assert [(token["name"], token["scope"]) for token in listed] == [
        ("acme's", "tenant"),
        ("ops", "admin"),
        ("prometheus", "metrics"),
    ]
    assert not [token for token in tokens.values() if token in json.dumps(listed)]
    assert (before, after) == ([200, 200, 403], 401)


async def status(installation: Installation, token: str) -> int:
    """Return how the list of accounts is answered."""
    async with client_of(installation, token) as client:
        return (await client.get("/providers")).status_code


async def test_an_erasure_that_was_cut_off_is_finished_by_the_next_daemon(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    await add_idle(installation, [mailbox])
    await installation.fetch("UPDATE provider_configs SET removed_at = now(), is_active = false")

    async with installation.daemon() as daemon:
        await daemon.wait_for_event("retention.finished", erased=1)
        await daemon.terminate()

    with anyio.fail_after(1):
        assert await installation.fetch("SELECT FROM provider_configs") == []
