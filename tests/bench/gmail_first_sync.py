"""How fast a Gmail mailbox is brought home, beside an IMAP mailbox with the same messages.

    PYTHONPATH=tests python tests/bench/gmail_first_sync.py [--messages N] [--rounds N]

The servers are processes of their own: Dovecot, and the Gmail emulator without quotas. The client
is the session, the parser and the store of one account in this process. What is compared is the
wall time of a pair of runs, each into a new database, since machines have good and bad minutes.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from statistics import median

import uvloop

from dovecot import DovecotServer, running_dovecot
from emailsync.config import (
    GoogleLimits,
    GoogleOAuthSettings,
    LimitsSettings,
    LiveSettings,
    OAuthSettings,
    Settings,
)
from emailsync.crypto import Secret
from emailsync.domain.accounts import ProviderType
from emailsync.emulators.mail_generator import generate
from emailsync.store.migrations import migrate
from postgres import PostgresCluster, running_cluster
from sync_harness import synced_account
from sync_rig import AccountRow, SyncRig, sync_rig

SEED = 20_000
USER = "bench@example.com"
TOKEN = "ya29.bench"
NO_QUOTA = GoogleLimits(
    user_units_per_minute=1_000_000, project_units_per_minute=1_000_000_000, utilisation=1
)


@contextmanager
def gmail_host(messages: int, latency_s: float) -> Iterator[str]:
    """Serve a mailbox in a process of its own; yield its URL."""
    order = {
        "tokens": {TOKEN: USER},
        "latency_s": latency_s,
        "gmail": {
            "quota": "off",
            "mailboxes": [{"email": USER, "messages": messages, "seed": SEED, "keep": True}],
        },
    }
    command = [sys.executable, "-m", "emailsync.emulators.provider_host"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        yield json.loads(process.stdout.readline())["gmail"]
        process.stdin.close()


def gmail_rig(
    database_url: str, base_url: str, folder: Path
) -> AbstractAsyncContextManager[SyncRig]:
    """Return the account of the emulated mailbox."""
    settings = Settings(
        limits=LimitsSettings(google=NO_QUOTA),
        oauth=OAuthSettings(google=GoogleOAuthSettings(api_url=base_url)),
    )
    row = AccountRow(
        provider_type=ProviderType.GOOGLE,
        email_address=USER,
        settings={},
        credentials={
            "refresh_token": Secret("1//bench"),
            "access_token": Secret(TOKEN),
            "expires_at": Secret("2100-01-01T00:00:00+00:00"),
        },
        endpoint=base_url,
    )
    return sync_rig(database_url, row, settings=LiveSettings(settings), key_file=folder / "keys")


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
                rig = gmail_rig(url, base_url, folder)
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
        gmail_host(options.messages, options.latency_ms / 1000) as base_url,
    ):
        server.mailbox(USER).deliver(
            generate(SEED, index, recipient=USER) for index in range(options.messages)
        )
        pairs = [
            measure(cluster, server, base_url, options.messages) for _ in range(options.rounds)
        ]
    ratios = [imap_s / gmail_s for imap_s, gmail_s in pairs]
    print(f"first sync of {options.messages:,} messages, median of {options.rounds} runs")
    for name, column in (("imap", 0), ("gmail", 1)):
        wall_s = median(pair[column] for pair in pairs)
        print(f"{name:8}{options.messages / wall_s:10,.0f} messages/s{wall_s:8.2f} s")
    print(f"Gmail is {median(ratios):.2f} times as fast as IMAP, median of the pairs")


if __name__ == "__main__":
    main()
