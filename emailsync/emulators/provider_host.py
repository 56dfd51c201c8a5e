"""Emulated HTTP providers in a process of their own, each on a port of its own.

Reads one line of JSON: `{"tokens": {token: address, ...}, "latency_s": S, "gmail": {...}, ...}`,
a provider's order being what its `from_order` says, and answers `{"gmail": "http://...", ...}` once
all of them serve. From then on they are spoken to by HTTP, under `/_control` too. The process ends
when its input does.
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
from emailsync.emulators.http_host import StaticTokens, TokenAuthority, serve


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
    tokens = StaticTokens(order.get("tokens", {}))
    async with AsyncExitStack() as serving, anyio.create_task_group() as group:
        base_urls = {}
        for name, make in PROVIDERS.items():
            if name not in order:
                continue
            emulator = make(order[name], tokens)
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
