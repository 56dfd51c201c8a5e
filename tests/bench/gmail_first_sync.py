"""How fast a Gmail mailbox is brought home, beside an IMAP mailbox with the same messages.

    PYTHONPATH=tests python tests/bench/gmail_first_sync.py [--messages N] [--rounds N]

The servers are processes of their own: Dovecot, and the Gmail emulator without quotas. The client
is the session, the parser and the store of one account in this process. What is compared is the
wall time of a pair of runs, each into a new database, since machines have good and bad minutes.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from dovecot import DovecotServer, running_dovecot
from emailsync.emulators.mail_generator import generate
from emailsync.store.migrations import migrate
from gmail_account import gmail_rig, gmail_settings
from postgres import PostgresCluster, running_cluster
from provider_process import running_providers
from sync_harness import synced_account
from sync_rig import SyncRig

SEED = 20_000
USER = "bench@example.com"
TOKEN = "ya29.bench"


def gmail_order(messages: int, latency_s: float) -> Mapping[str, Any]:
    """Return what `provider_host` is to serve."""
    return {
        "tokens": {TOKEN: USER},
        "latency_s": latency_s,
        "gmail": {
            "quota": "off",
            "mailboxes": [{"email": USER, "messages": messages, "seed": SEED, "keep": True}],
        },
    }


async def timed(rig: AbstractAsyncContextManager[SyncRig], messages: int) -> float:
    """Return the seconds of a whole first sync."""
    async with rig as account:
        started = time.perf_counter()
        await account.sync()
        wall_s = time.perf_counter() - started
        stored = await account.count("messages WHERE deleted_at IS NULL AND raw IS NOT NULL")
        assert stored == messages, f"{stored} of {messages} messages are stored"
    return wall_s


def measure(
    cluster: PostgresCluster, server: DovecotServer, base_url: str, messages: int
) -> tuple[float, float]:
    """Return the seconds of IMAP and of Gmail, one after the other."""
    seconds = []
    for provider in ("imap", "gmail"):
        database = cluster.create_database()
        url = cluster.url(database)
        asyncio.run(migrate(url))
        with tempfile.TemporaryDirectory(prefix="emailsync-bench-") as name:
            folder = Path(name)
            if provider == "imap":
                mailbox = server.mailbox(USER)
                rig: AbstractAsyncContextManager[SyncRig] = synced_account(
                    url, mailbox, host=mailbox.host, port=mailbox.port, key_file=folder / "keys"
                )
            else:
                settings = gmail_settings(base_url)
                rig = gmail_rig(
                    url, base_url, settings, user=USER, token=TOKEN, key_file=folder / "keys"
                )
            seconds.append(uvloop.run(timed(rig, messages)))
        cluster.drop_database(database)
        print(f"{provider}: {messages / seconds[-1]:,.0f} messages/s", file=sys.stderr)
    return seconds[0], seconds[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="first sync: Gmail beside IMAP")
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    options = parser.parse_args()
    with (
        running_dovecot() as server,
        running_cluster() as cluster,
        running_providers(gmail_order(options.messages, options.latency_ms / 1000)) as providers,
    ):
        url = providers.urls["gmail"]
        server.mailbox(USER).deliver(
            generate(SEED, index, recipient=USER) for index in range(options.messages)
        )
        pairs = [measure(cluster, server, url, options.messages) for _ in range(options.rounds)]
    ratios = [imap_s / gmail_s for imap_s, gmail_s in pairs]
    print(f"first sync of {options.messages:,} messages, median of {options.rounds} runs")
    for name, column in (("imap", 0), ("gmail", 1)):
        wall_s = median(pair[column] for pair in pairs)
        print(f"{name:8}{options.messages / wall_s:10,.0f} messages/s{wall_s:8.2f} s")
    print(f"Gmail is {median(ratios):.2f} times as fast as IMAP, median of the pairs")


if __name__ == "__main__":
    main()
