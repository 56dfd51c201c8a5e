"""The API beside emulated issuers, Gmail and Graph on real sockets, and a person with a browser."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx

from api_rig import ADMIN, ApiRig
from emailsync.config import HttpSettings
from emailsync.emulators.gmail.app import GmailEmulator
from emailsync.emulators.graph.app import GraphEmulator
from emailsync.emulators.http_host import serve
from emailsync.emulators.oauth.app import OAuthEmulator
from emailsync.providers.oauth.connector import connector
from emailsync.providers.oauth.token_memory import TokenMemory
from emailsync.providers.registry import session_openers
from emailsync.system_clock import SystemClock
from oauth_rig import CLIENT_ID, CLIENT_SECRET, oauth_settings

ANN, BOB = "ann@example.test", "bob@example.test"
APP = "https://app.example.test/settings/mail"
MAIL_SCOPE = {
    "google": "https://www.googleapis.com/auth/gmail.readonly",
    "microsoft": "https://graph.microsoft.com/Mail.Read",
}


@dataclass
class Browser:
    """Somebody's browser: it follows links, and keeps cookies."""

    visited: list[str] = field(default_factory=list)
    client: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(trust_env=False, timeout=30)
    )

    async def open(self, url: str) -> httpx.Response:
        """Return the page, or where it sends the browser."""
        self.visited.append(url)
        return await self.client.get(url)

    async def agree(
        self,
        consent_url: str,
        address: str = ANN,
        *,
        scopes: Sequence[str] | None = None,
        decision: str = "allow",
    ) -> str:
        """Sign in and agree, or not; return where the issuer sends the browser back to."""
        page = await self.open(consent_url)
        assert page.status_code == 200, page.text
        asked = query_of(consent_url).get("scope", "").split()
        form = {
            "address": address,
            "decision": decision,
            "scope": asked if scopes is None else scopes,
        }
        answer = await self.client.post(consent_url, data=form)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def connect(self, consent_url: str, address: str = ANN, **choices: Any) -> httpx.Response:
        """Agree, and go back to the daemon."""
        return await self.open(await self.agree(consent_url, address, **choices))


@dataclass
class ConnectRig:
    """Everything that connecting a mailbox takes."""

    api: ApiRig
    oauth: OAuthEmulator
    gmail: GmailEmulator
    graph: GraphEmulator
    browser: Browser

    async def start(self, issuer: str, token: str = ADMIN, **order: Any) -> dict[str, Any]:
        """Ask where to send the browser."""
        wanted = {"tenant_id": "acme", "return_to": "/settings/mail"} | order
        answer = await self.api.ask("POST", f"/providers/{issuer}/connect", token, json=wanted)
        assert answer.status_code == 200, answer.text
        started: dict[str, Any] = answer.json()
        return started

    async def connect(self, issuer: str, address: str = ANN, **order: Any) -> dict[str, str]:
        """Connect a mailbox from the beginning to the end; return what the application is told."""
        started = await self.start(issuer, **order)
        return told(await self.browser.connect(started["consent_url"], address))

    async def accounts(self, tenant: str = "acme") -> list[dict[str, Any]]:
        """Return the rows of a tenant's accounts by OAuth."""
        return await self.api.mail.rows(
            "SELECT * FROM provider_configs WHERE tenant_id = $1 AND provider_type <> 'imap'"
            " ORDER BY created_at",
            tenant,
        )

    async def account_with_mail(self, issuer: str, **columns: Any) -> dict[str, Any]:
        """Return an account that is connected already, as its row is."""
        await self.connect(issuer)
        for name, value in columns.items():
            await self.api.mail.connection.execute(
                f"UPDATE provider_configs SET {name} = $1 WHERE provider_type = $2",  # noqa: S608
                value,
                issuer,
            )
        return (await self.accounts())[-1]

    def configure(self, **http: Any) -> None:
        """Change `[http]`."""
        live = self.api.mail.settings
        section = live.current.http.model_copy(update=http)
        live.current = live.current.model_copy(update={"http": section})


@asynccontextmanager
async def connect_rig(api: ApiRig, folder: Path) -> AsyncIterator[ConnectRig]:
    """Register our client with the emulated issuers, until the block ends."""
    oauth = OAuthEmulator()
    oauth.ledger.add_client(CLIENT_ID, CLIENT_SECRET)
    oauth.ledger.clients[CLIENT_ID].redirect_uris = {
        f"{api.url}/providers/{issuer}/callback" for issuer in MAIL_SCOPE
    }
    oauth.ledger.people.update((ANN, BOB))
    gmail, graph = GmailEmulator(oauth), GraphEmulator(oauth)
    for address in (ANN, BOB):
        gmail.ledger.add_mailbox(address, seed=1)
        graph.ledger.add_mailbox(address)
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serve(each.app)) for each in (oauth, gmail, graph)]
        await _register(api, folder, urls, stack)
        browser = Browser()
        stack.push_async_callback(browser.client.aclose)
        yield ConnectRig(api, oauth, gmail, graph, browser)


async def _register(api: ApiRig, folder: Path, urls: Sequence[str], stack: AsyncExitStack) -> None:
    registered = oauth_settings(urls[0], folder)
    live, clock = api.mail.settings, SystemClock()
    live.current = live.current.model_copy(
        update={
            "oauth": registered.model_copy(
                update={
                    "google": registered.google.model_copy(
                        update={"api_url": urls[1], "auth_url": f"{urls[0]}/google/authorize"}
                    ),
                    "microsoft": registered.microsoft.model_copy(update={"api_url": urls[2]}),
                }
            ),
            "http": HttpSettings(public_url=api.url, return_to_allowed=(APP,)),
        }
    )
    api.backend = replace(
        api.backend,
        connector=await stack.enter_async_context(connector(live, clock)),
        openers=await stack.enter_async_context(session_openers(live, TokenMemory(), clock)),
    )


def query_of(url: str) -> dict[str, str]:
    """Return the query of a URL."""
    return dict(parse_qsl(urlsplit(url).query))


def told(answer: httpx.Response) -> dict[str, str]:
    """Return what the application is told by the address that the browser is sent to."""
    assert answer.status_code == 303, answer.text
    fields = parse_qs(urlsplit(answer.headers["location"]).query, strict_parsing=True)
    assert all(len(values) == 1 for values in fields.values())
    return {name: values[0] for name, values in fields.items()}
