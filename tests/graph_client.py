"""A plain client of the emulated Graph, to see what it answers and not what our own makes of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from emailsync.emulators.graph.app import GraphEmulator
from emailsync.emulators.graph.mailbox import Mailbox
from emailsync.emulators.graph.throttling import Limits
from emailsync.emulators.http_host import StaticTokens, serve

ADA = "ada@example.test"
BOB = "bob@example.test"
TOKENS = {"ada-token": ADA, "bob-token": BOB, "app-token": "*", "nobody-token": "no@example.test"}
IMMUTABLE = 'IdType="ImmutableId"'
INBOX_DELTA = "/me/mailFolders/inbox/messages/delta"


START = datetime(2025, 1, 1, tzinfo=UTC)


def of_size(size: int) -> str:
    """Return the preference for pages of this size."""
    return f"{IMMUTABLE}, odata.maxpagesize={size}"


def removed(ids: list[str], reason: str) -> list[dict[str, Any]]:
    """Return what delta queries tell of messages that are gone."""
    kind = "#microsoft.graph.message"
    return [{"@odata.type": kind, "id": name, "@removed": {"reason": reason}} for name in ids]


def fill(client: "GraphClient", count: int) -> list[str]:
    """Put messages into the inbox that were received an hour apart; return their ids."""
    made = [
        client.mailbox.deliver(mail(f"No {n}"), received_at=START + timedelta(hours=n))
        for n in range(count)
    ]
    return [message.id for message in made]


def mail(subject: str = "Hello", *, text: str = "Some text.") -> bytes:
    return (
        f"Message-ID: <{subject.replace(' ', '-')}@example.test>\r\n"
        "Date: Mon, 6 Jan 2025 09:00:00 +0100\r\nFrom: Bob <bob@example.test>\r\n"
        f"To: ada@example.test\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    ).encode()


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of a delta query has told."""

    items: list[dict[str, Any]]
    pages: list[dict[str, Any]]

    @property
    def link(self) -> str:
        link: str = self.pages[-1]["@odata.deltaLink"]
        return link

    @property
    def ids(self) -> list[str]:
        return [item["id"] for item in self.items]


@dataclass(frozen=True, slots=True)
class GraphClient:
    """Ada's client, and the emulator to look behind."""

    emulator: GraphEmulator
    mailbox: Mailbox
    http: httpx.AsyncClient
    base_url: str

    async def get(
        self, path: str, *, bearer: str = "ada-token", prefer: str = IMMUTABLE, **headers: str
    ) -> httpx.Response:
        """Ask for a path after the version, or for a whole URL."""
        url = path if path.startswith("http") else f"{self.base_url}/v1.0{path}"
        auth = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return await self.http.get(url, headers={**auth, "Prefer": prefer, **headers})

    async def json(self, path: str, **options: str) -> dict[str, Any]:
        """Return what is answered with 200."""
        answer = await self.get(path, **options)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def error(self, path: str, **options: str) -> tuple[int, str]:
        """Return the status and code of a refusal, whose shape is as documented."""
        answer = await self.get(path, **options)
        error = answer.json()["error"]
        assert set(error) == {"code", "message", "innerError"}
        assert {"request-id", "date", "client-request-id"} <= set(error["innerError"])
        return answer.status_code, error["code"]

    async def round(self, path: str, *, prefer: str = IMMUTABLE, most: int = 50) -> Round:
        """Follow nextLinks to the deltaLink."""
        pages = [await self.json(path, prefer=prefer)]
        while link := pages[-1].get("@odata.nextLink"):
            assert len(pages) < most
            pages.append(await self.json(link, prefer=prefer))
        return Round([item for page in pages for item in page["value"]], pages)

    async def batch(self, *requests: dict[str, Any], bearer: str = "ada-token") -> httpx.Response:
        """Send a batch of GETs."""
        rows = [{"method": "GET", **request} for request in requests]
        return await self.http.post(
            f"{self.base_url}/v1.0/$batch",
            json={"requests": rows},
            headers={"Authorization": f"Bearer {bearer}"},
        )

    async def parts(self, *requests: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Send a batch; return the parts' answers by id."""
        answer = await self.batch(*requests)
        assert answer.status_code == 200, answer.text
        return {part["id"]: part for part in answer.json()["responses"]}


@asynccontextmanager
async def graph_client(
    *, messages: int = 0, limits: Limits | None = None, base_url: str | None = None
) -> AsyncIterator[GraphClient]:
    """Serve a Graph with Ada's and Bob's mailboxes."""
    emulator = GraphEmulator(StaticTokens(TOKENS), limits=limits, base_url=base_url)
    mailbox = emulator.ledger.add_mailbox(ADA, messages=messages, seed=1)
    emulator.ledger.add_mailbox(BOB)
    async with serve(emulator.app) as url, httpx.AsyncClient(timeout=30) as http:
        yield GraphClient(emulator, mailbox, http, url)
