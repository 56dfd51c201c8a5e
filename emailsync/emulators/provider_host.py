"""Emulated HTTP providers in a process of their own, each on a port of its own.

Reads one line of JSON: `{"tokens": {token: address, ...}, "latency_s": S, "oauth": {...}, "gmail":
{...}, "graph": {...}}`, an order being what `from_order` of the emulator says; answers `{"oauth":
"http://...", ...}` once all that were ordered serve. `tokens` open mailboxes for ever, those that
"oauth" gives out as long as they live. From then on they are spoken to by HTTP, under `/_control`
too. The process ends when its input does.
"""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final, Protocol

import anyio
from starlette.types import ASGIApp

from emailsync.emulators.faults import Faults
from emailsync.emulators.gmail.app import GmailEmulator
from emailsync.emulators.graph.app import GraphEmulator
from emailsync.emulators.http_host import TokenAuthority, serve
from emailsync.emulators.oauth.app import OAuthEmulator


class Emulator(Protocol):
    """One provider: what it answers, and what happens in its mailboxes by itself."""

    @property
    def app(self) -> ASGIApp:
        """Return the application, its control API under `/_control` included."""

    @property
    def faults(self) -> Faults:
        """Return what goes wrong, and how long answers take."""

    async def live(self) -> None:
        """Let time pass in the mailboxes until cancelled."""


PROVIDERS: Final[Mapping[str, Callable[[Mapping[str, Any], TokenAuthority], Emulator]]] = {
    "gmail": GmailEmulator.from_order,
    "graph": GraphEmulator.from_order,
}


async def main() -> None:
    """Serve what the first line of the input orders, until the input ends."""
    order = json.loads(await anyio.to_thread.run_sync(sys.stdin.readline))
    issuers = OAuthEmulator.from_order(order.get("oauth", {}))
    for token, address in order.get("tokens", {}).items():
        issuers.ledger.accept(token, address)
    async with AsyncExitStack() as serving, anyio.create_task_group() as group:
        emulators: dict[str, Emulator] = {"oauth": issuers} if "oauth" in order else {}
        for name, make in PROVIDERS.items():
            if name in order:
                emulators[name] = make(order[name], issuers)
        base_urls = {}
        for name, emulator in emulators.items():
            emulator.faults.latency_s = order.get("latency_s", 0.0)
            base_urls[name] = await serving.enter_async_context(serve(emulator.app))
            group.start_soon(emulator.live, name=name)
        sys.stdout.write(json.dumps(base_urls) + "\n")
        sys.stdout.flush()
        while await anyio.to_thread.run_sync(sys.stdin.readline):
            pass
        group.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main, backend_options={"use_uvloop": True})
