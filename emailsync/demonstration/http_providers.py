"""The demo's Gmail, Graph and token endpoints: started, asked and disturbed from here.

They are one process, which ends with the demo, however that ends.
"""

import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import anyio.abc
import httpx
from anyio.streams.buffered import BufferedByteReceiveStream

from emailsync.demonstration.faults import faults_of
from emailsync.demonstration.servers import LINE_MAX_BYTES, DemoFailed
from emailsync.demonstration.tenants import DemoMailbox
from emailsync.domain.accounts import ProviderType

APIS: Final = {ProviderType.GOOGLE: "gmail", ProviderType.MICROSOFT: "graph"}
NEWCOMERS: Final = {
    ProviderType.GOOGLE: "you@gmail.example",
    ProviderType.MICROSOFT: "you@outlook.example",
}
"""Mailboxes that nobody has connected yet, to try it in a browser."""
NEWCOMERS_MESSAGES: Final = 25
CLIENT_ID: Final = "emailsyncd-demo"
CLIENT_SECRET: Final = "demo-client-secret"  # noqa: S105 - of an emulated issuer
TOKEN_LIFE_S: Final = 120  #: so that tokens are renewed while one looks on
ANSWER_WITHIN_S: Final = 10.0
REFUSED_FROM: Final = 400  #: HTTP's statuses that are refusals


class HttpProviders:
    """The running emulators, ordered as `emailsync.emulators.provider_host` tells."""

    def __init__(self, process: anyio.abc.Process, client: httpx.AsyncClient) -> None:
        self._process = process
        self._client = client
        self._quiet = False
        self.urls: Mapping[str, str] = {}  #: by emulator: oauth, gmail, graph

    async def begin(
        self, mailboxes: Sequence[DemoMailbox], changes_per_s: float, *, faults: bool
    ) -> None:
        """Order the mailboxes and the owners' consent; return once all is served."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = json.dumps(_order(mailboxes, changes_per_s)).encode()
        try:
            await self._process.stdin.send(order + b"\n")
            answers = BufferedByteReceiveStream(self._process.stdout)
            self.urls = json.loads(await answers.receive_until(b"\n", LINE_MAX_BYTES))
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
            raise DemoFailed("the emulated providers ended; see above") from None
        if faults:
            for name in self.urls:
                await self._control(name, "POST", "faults", list(faults_of(name)))

    async def ledger(self, *, quiet: bool) -> Mapping[str, int]:
        """Return how many messages each mailbox has.

        If `quiet`, nothing changes in them from then on, and nothing goes wrong any more.
        """
        if quiet and not self._quiet:
            self._quiet = True
            for name in APIS.values():
                await self._control(name, "PUT", "life", {"changes_per_s": 0})
            for name in self.urls:
                await self._control(name, "DELETE", "faults")
        found: dict[str, int] = {}
        for name in APIS.values():
            mailboxes = await self._control(name, "GET", "mailboxes")
            found |= {address: each["messages"] for address, each in mailboxes.items()}
        return found

    async def refusals(self) -> Mapping[str, int]:
        """Return how often each status that is a refusal was answered."""
        refused: Counter[str] = Counter()
        for name in self.urls:
            statuses = (await self._control(name, "GET", "usage"))["statuses"]
            refused.update({key: n for key, n in statuses.items() if int(key) >= REFUSED_FROM})
        return refused

    async def _control(self, name: str, method: str, path: str, order: Any = None) -> Any:
        url = f"{self.urls[name]}/_control/{path}"
        try:
            answer = await self._client.request(method, url, json=order)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise DemoFailed(f"the emulated {name} does not answer: {error!r}") from error
        return answer.json() if answer.content else None


@asynccontextmanager
async def running_http_providers() -> AsyncIterator[HttpProviders]:
    """Run the emulators while the context lasts; they end with their input, so with us."""
    command = [sys.executable, "-m", "emailsync.emulators.provider_host"]
    async with (
        httpx.AsyncClient(trust_env=False, timeout=ANSWER_WITHIN_S) as client,
        await anyio.open_process(command, stderr=None, start_new_session=True) as process,
    ):
        try:
            yield HttpProviders(process, client)
        finally:
            process.kill()  # it holds nothing that outlives it


def _order(mailboxes: Sequence[DemoMailbox], changes_per_s: float) -> Mapping[str, Any]:
    users = [
        {"address": mailbox.email, "client_id": CLIENT_ID, "refresh_token": mailbox.secret}
        for mailbox in mailboxes
        if mailbox.kind in APIS
    ]
    oauth = {
        "clients": {CLIENT_ID: CLIENT_SECRET},
        "users": users,
        "people": list(NEWCOMERS.values()),
        "rotation": "new",
        "access_token_life_s": TOKEN_LIFE_S,
    }
    return {"oauth": oauth} | {
        api: {
            "changes_per_s": changes_per_s,
            "mailboxes": [
                {"email": NEWCOMERS[kind], "messages": NEWCOMERS_MESSAGES, "seed": 0},
                *(
                    {"email": mailbox.email, "messages": mailbox.messages, "seed": mailbox.seed}
                    for mailbox in mailboxes
                    if mailbox.kind is kind
                ),
            ],
        }
        for kind, api in APIS.items()
    }
