"""Connecting mailboxes with the real daemon: from the browser's first page to stored mail."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from connect_rig import ANN, MAIL_SCOPE, Browser, query_of, told
from daemon import Daemon
from installation import Installation
from oauth_rig import CLIENT_ID, CLIENT_SECRET
from provider_process import API, ProviderProcess, registration, running_providers
from servers import LOOPBACK, free_port

MESSAGES = 3
ORDER = {
    "oauth": {"clients": {CLIENT_ID: CLIENT_SECRET}, "people": [ANN]},
    **{
        api: {"mailboxes": [{"email": ANN, "messages": MESSAGES, "seed": 1}]}
        for api in API.values()
    },
}
NO_TICKS = {"email_sync": {"cron": "0 0 1 1 *"}}
STORED = """
SELECT messages.id, raw_sha256 FROM messages JOIN provider_configs
    ON (provider_configs.tenant_id, provider_configs.id) = (messages.tenant_id, provider_id)
WHERE provider_type = $1 AND deleted_at IS NULL ORDER BY messages.id
"""


@dataclass(frozen=True)
class Office:
    """An installation that is registered at the emulated issuers."""

    installation: Installation
    providers: ProviderProcess
    folder: Path
    browser: Browser

    def configure(self, changes: Mapping[str, Any] | None = None) -> None:
        """Write the settings: our registration, and where browsers reach us."""
        registered = registration(self.installation, self.providers, self.folder)
        self.installation.configure({**registered, **NO_TICKS, **(changes or {})})

    async def start(self, issuer: str, **order: Any) -> str:
        """Return where to send the browser."""
        state = Path(self.installation.settings["email_sync"]["state_dir"])
        headers = {"Authorization": f"Bearer {(state / 'http-token').read_text().strip()}"}
        url = f"{self.installation.http_url}/providers/{issuer}/connect"
        wanted = {"tenant_id": "acme", "return_to": "/settings/mail"} | order
        async with httpx.AsyncClient(headers=headers, timeout=60, trust_env=False) as client:
            answer = await client.post(url, json=wanted)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["consent_url"])


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    browser = Browser()
    yield browser
    await browser.client.aclose()


@pytest.fixture
def office(installation: Installation, tmp_path: Path, browser: Browser) -> Iterator[Office]:
    with running_providers(ORDER) as providers:
        office = Office(installation, providers, tmp_path, browser)
        office.configure()
        yield office


async def synced(daemon: Daemon, account_id: str, count: int = 1) -> dict[str, Any]:
    """Return how an account's sync ended, once it has."""
    return await daemon.wait_for_event("sync.job_finished", count=count, account_id=account_id)


@pytest.mark.parametrize("issuer", list(MAIL_SCOPE))
async def test_a_mailbox_is_connected_lost_and_connected_again_with_all_its_mail(
    office: Office, issuer: str
) -> None:
    """The daemon is started anew while the browser is at the issuer, each time."""
    async with office.installation.daemon() as daemon:
        back = await office.browser.agree(await office.start(issuer))
        await daemon.terminate()
    async with office.installation.daemon() as daemon:
        first = told(await office.browser.open(back))
        run = await synced(daemon, first["provider_id"])
        before = await office.installation.fetch(STORED, issuer)
        office.providers.control("oauth", "POST", f"users/{ANN}/revoke")
        await office.installation.fetch("UPDATE provider_configs SET requested_at = now()")
        await office.installation.fetch("SELECT pg_notify('emailsync_wake', '')")
        lost = await synced(daemon, first["provider_id"], count=2)
        back = await office.browser.agree(await office.start(issuer, **first_of(first)))
        await daemon.terminate()
    async with office.installation.daemon() as daemon:
        again = told(await office.browser.open(back))
        last = await synced(daemon, first["provider_id"])
        await daemon.terminate()

    assert (first["connect"], run["result"], run["created"]) == ("connected", "done", MESSAGES)
    assert lost["result"] == "needs_reconnect"
    assert again == again | {"connect": "reconnected", "provider_id": first["provider_id"]}
    assert (last["result"], last["created"]) == ("done", 0)
    assert len(before) == MESSAGES
    assert await office.installation.fetch(STORED, issuer) == before
    assert secrets_in(office, logs_of(office)) == []


async def test_another_daemon_of_the_same_database_finishes_what_one_began(office: Office) -> None:
    """A load balancer sends the browser to whichever it likes."""
    other = f"{LOOPBACK}:{free_port()}"
    async with office.installation.daemon() as first:
        consent_url = await office.start("google")
        office.configure({"http": {"public_url": office.installation.http_url, "listen": other}})
        async with office.installation.daemon() as second:
            back = await office.browser.agree(consent_url)
            answer = told(await office.browser.open(back.replace(listen_of(office), other)))
            await second.wait_for_event("account.connected", account_id=answer["provider_id"])
            await second.terminate()
        await first.terminate()

    assert answer["connect"] == "connected"


def first_of(connected: Mapping[str, str]) -> dict[str, str]:
    return {"provider_id": connected["provider_id"]}


def listen_of(office: Office) -> str:
    return str(office.installation.settings["http"]["listen"])


def logs_of(office: Office) -> str:
    return "".join(log.read_text() for log in office.folder.glob("daemon.*.log"))


def secrets_in(office: Office, text: str) -> list[str]:
    """Return what of the browser's and the issuer's secrets stands in a text."""
    seen = {CLIENT_SECRET, ANN}
    for url in office.browser.visited:
        query = query_of(url)
        seen |= {query[name] for name in ("state", "code", "code_challenge") if name in query}
    tokens = office.providers.control("oauth", "GET", "tokens")["refresh_tokens"]
    seen |= {token for each in tokens.values() for token in each}
    return [secret for secret in seen if secret in text]
