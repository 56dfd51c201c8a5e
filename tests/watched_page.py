"""The dashboard in a browser, which notes whatever goes wrong in it or leaves for elsewhere."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from daemon import Daemon
from dovecot_mailbox import DovecotMailbox
from emailsync.crypto import token_hash
from installation import Installation

ADD_TOKEN = "INSERT INTO api_tokens (name, sha256, scope, tenant_id) VALUES ($1, $2, $3, $4)"
PATIENCE_MS = 20_000  #: for what the page should show; generous, since machines are shared

expect.set_options(timeout=PATIENCE_MS)


@dataclass(frozen=True)
class Dashboard:
    """A running daemon, as the tests of its dashboard ask it."""

    installation: Installation
    daemon: Daemon

    @property
    def url(self) -> str:
        """Where the dashboard is."""
        return f"{self.installation.http_url}/"

    @property
    def token(self) -> str:
        """The admin's."""
        state = Path(self.installation.settings["email_sync"]["state_dir"])
        return (state / "http-token").read_text().strip()

    async def add_token(self, scope: str, tenant_id: str | None = None) -> str:
        """Return a new token, which is its own name."""
        token = secrets.token_urlsafe()
        digest = token_hash(token.encode())
        await self.installation.fetch(ADD_TOKEN, token, digest, scope, tenant_id)
        return token

    async def remove_token(self, token: str) -> None:
        """Remove a token."""
        await self.installation.fetch("DELETE FROM api_tokens WHERE name = $1", token)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return what the API answers."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30) as client:
            answer = await client.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def add(self, mailbox: DovecotMailbox, tenant: str = "acme") -> str:
        """Add a mailbox; return its account's id once it was synced."""
        server: Mapping[str, Any] = {"host": mailbox.host, "port": mailbox.port, "security": "none"}
        account = await self.ask(
            "POST",
            "providers",
            {
                "tenant_id": tenant,
                "provider_type": "imap",
                "email_address": mailbox.user,
                "settings": {**server, "username": mailbox.user},
                "credentials": {"password": mailbox.password},
            },
        )
        account_id: str = account["id"]
        await self.daemon.wait_for_event("sync.job_finished", result="done", account_id=account_id)
        return account_id


@dataclass
class Visit:
    """One browser with cookies of its own, and everything that its page complained of."""

    dashboard: Dashboard
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)  #: requests to anybody but the daemon
    expected: tuple[str, ...] = ()  #: parts of complaints that belong to the test

    @classmethod
    @asynccontextmanager
    async def of(
        cls, browser: Browser, dashboard: Dashboard, **options: Any
    ) -> AsyncIterator["Visit"]:
        """Yield a new visitor; `options` are those of a browser's context."""
        context = await browser.new_context(base_url=dashboard.url, **options)
        visit = cls(dashboard, context, await context.new_page())
        visit.page.on("console", visit._said)
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.on("dialog", lambda dialog: visit.complaints.append(dialog.message))
        visit.page.on("request", visit._asked)
        yield visit
        await context.close()

    async def enter(self, token: str) -> None:
        """Log in by a token, as the page does, and open it."""
        await self.context.request.post("/session", data={"token": token})
        await self.page.goto("/")
        await expect(self.page.get_by_role("status").get_by_text("Live")).to_be_visible()

    async def open(self, place: str) -> None:
        """Go to a page, such as `/accounts`, once logged in, and wait until it is filled."""
        await self.page.evaluate("place => { location.hash = place }", f"#{place}")
        await expect(self.page.locator(".page table, .page .nothing").first).to_be_visible()

    async def width(self) -> int:
        """Return how wide the page is, what is out of sight included."""
        width: int = await self.page.evaluate("document.documentElement.scrollWidth")
        return width

    def check(self) -> None:
        """Fail when the page complained, or asked anybody but the daemon."""
        unexpected = [
            each for each in self.complaints if not any(part in each for part in self.expected)
        ]
        assert (unexpected, self.strangers) == ([], [])

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.dashboard.url).netloc:
            self.strangers.append(request.url)
