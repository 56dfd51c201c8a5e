"""An emulated Gmail with one mailbox, and a plain HTTP client of its owner: no code of ours."""

import base64
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from emailsync.emulators.gmail.app import GmailEmulator
from emailsync.emulators.gmail.ledger import GmailMailbox
from emailsync.emulators.http_host import StaticTokens, serve

OWNER = "owner@example.com"
TOKEN = "ya29.owner"
STRANGER = "stranger@example.com"  #: has a token and no Gmail
ME = "/gmail/v1/users/me"
SEED = 7  #: of the mail generated for the owner
BATCH = "/batch/gmail/v1"


@dataclass(frozen=True)
class Part:
    """One answer of a batch."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class GmailOnTheWire:
    """The emulator from inside, and a client of it."""

    emulator: GmailEmulator
    mailbox: GmailMailbox
    client: httpx.AsyncClient

    async def get(self, path: str, **parameters: Any) -> httpx.Response:
        """Ask for something of the owner's."""
        return await self.client.get(ME + path, params=parameters)

    async def read(self, path: str, **parameters: Any) -> Any:
        """Ask for something of the owner's that is there."""
        answer = await self.get(path, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def batch(self, targets: Sequence[str], url: str = BATCH) -> Mapping[str, Part]:
        """Ask for several things of the owner's at once; answers by Content-ID."""
        answer = await self.post_batch(targets, url)
        assert answer.status_code == 200, answer.text
        return dict(parts_of(answer))

    async def post_batch(self, targets: Sequence[str], url: str = BATCH) -> httpx.Response:
        """Send a batch with Content-IDs <0>, <1>, ..."""
        parts = [
            "--B\r\nContent-Type: application/http\r\n"
            f"Content-ID: <{at}>\r\n\r\nGET {ME}{target}\r\n\r\n"
            for at, target in enumerate(targets)
        ]
        headers = {"Content-Type": "multipart/mixed; boundary=B"}
        return await self.client.post(url, content="".join([*parts, "--B--"]), headers=headers)


def parts_of(answer: httpx.Response) -> Sequence[tuple[str, Part]]:
    """Return Content-ID and answer of each part, as they come."""
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/mixed"
    pieces = answer.content.split(f"--{boundary}".encode())
    assert pieces[-1].startswith(b"--")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> tuple[str, Part]:
    outer, inner, body = piece.split(b"\r\n\r\n", 2)
    assert b"Content-Type: application/http" in outer
    content_id = re.search(rb"Content-ID: <response-([^>]*)>", outer)
    status, *lines = inner.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert content_id is not None
    length = int(headers["content-length"])
    assert body[length:] == b"\r\n"
    return content_id[1].decode(), Part(int(status.split()[1]), headers, body[:length])


def decoded(text: str) -> bytes:
    """Return what base64url without padding stands for."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@asynccontextmanager
async def gmail_on_the_wire() -> AsyncIterator[GmailOnTheWire]:
    """Serve an empty mailbox while the context lasts."""
    emulator = GmailEmulator(StaticTokens({TOKEN: OWNER, "ya29.stranger": STRANGER}))
    mailbox = emulator.ledger.add_mailbox(OWNER, seed=SEED)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        serve(emulator.app) as base_url,
        httpx.AsyncClient(base_url=base_url, headers=headers, trust_env=False) as client,
    ):
        yield GmailOnTheWire(emulator, mailbox, client)
