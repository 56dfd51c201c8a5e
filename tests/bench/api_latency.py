"""How fast the API answers beside a full sync load, against the same daemon when it is idle.

    PYTHONPATH=tests python tests/bench/api_latency.py [--accounts N] [--messages N] [--seconds N]

The load is the first sync of all accounts, as fast as it goes and as many at a time as the shipped
settings allow, with Dovecot and PostgreSQL on the same machine. One client asks for one page after
the other.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlsplit

from dovecot import DovecotServer, running_dovecot
from dovecot_mailbox import DovecotMailbox
from emailsync.emulators.mail_generator import generate
from emailsync.store.migrations import migrate
from installation import Installation, new_installation
from measured import RunFailedError
from postgres import running_cluster

LOOK_EVERY_S = 0.1
PAUSE_S = 0.01  #: between two requests, so that the client is no load itself
PAGES = ("/health", "/providers")
NO_TICKS = {"email_sync": {"cron": "0 0 1 1 *", "stagger_ms": 0}}


def settings_for(concurrent: int | None) -> Mapping[str, Mapping[str, object]]:
    """Return the settings as they are shipped, or for so many syncs at a time."""
    if concurrent is None:
        return NO_TICKS
    imap = {"concurrent": concurrent, "connections_per_host": 2 * concurrent}
    high = {"concurrency": concurrent, "limiter_max": 100}
    return NO_TICKS | {"limits": {"imap": imap}, "queues": {"high": high}}


@dataclass(frozen=True, slots=True)
class Client:
    """Asks the daemon, on one connection."""

    connection: HTTPConnection
    headers: Mapping[str, str]

    def ask(self, method: str, path: str, body: object = None) -> float:
        """Return how long an answer took, in seconds.

        Raises:
            RunFailedError: it is an error.
        """
        sent = None if body is None else json.dumps(body)
        began = time.perf_counter()
        self.connection.request(method, path, sent, dict(self.headers))
        response = self.connection.getresponse()
        said = response.read()
        took_s = time.perf_counter() - began
        if response.status >= 300:
            raise RunFailedError(f"{method} {path}: {response.status} {said!r}")
        return took_s

    def measure(self, seconds: float) -> Mapping[str, Sequence[float]]:
        """Ask for the pages in turn for so long; return what each answer took."""
        taken: dict[str, list[float]] = {page: [] for page in PAGES}
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for page in PAGES:
                taken[page].append(self.ask("GET", page))
                time.sleep(PAUSE_S)
        return taken


def main() -> None:
    """Measure and print."""
    options = _options()
    with (
        running_dovecot() as server,
        running_cluster() as cluster,
        tempfile.TemporaryDirectory(prefix="emailsync-bench-") as name,
    ):
        url = cluster.url(cluster.create_database())
        asyncio.run(migrate(url))
        installation = new_installation(Path(name), url, server)
        installation.configure(settings_for(options.concurrent))
        mailboxes = _fill(server, options.accounts, options.messages)
        idle, busy, stored = asyncio.run(_measure(installation, mailboxes, options.seconds))
    _print(idle, busy, stored / options.seconds, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="latency of the API beside a full sync load")
    parser.add_argument("--accounts", type=int, default=16)
    parser.add_argument("--messages", type=int, default=3_000, help="in each mailbox")
    parser.add_argument("--concurrent", type=int, help="syncs at a time; the settings' without it")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _fill(server: DovecotServer, accounts: int, messages: int) -> Sequence[DovecotMailbox]:
    mailboxes = [server.mailbox(f"busy{number}@example.test") for number in range(accounts)]
    for number, mailbox in enumerate(mailboxes):
        mailbox.deliver(
            generate(number, index, recipient=mailbox.user) for index in range(messages)
        )
    return mailboxes


async def _measure(
    installation: Installation, mailboxes: Sequence[DovecotMailbox], seconds: float
) -> tuple[Mapping[str, Sequence[float]], Mapping[str, Sequence[float]], int]:
    """Return the times when idle and when busy, and how many messages were stored meanwhile.

    Raises:
        RunFailedError: the load ended before the measurement did.
    """
    stored = "SELECT count(*) AS messages FROM messages"
    async with installation.daemon() as daemon:
        client = _client(installation)
        idle = await asyncio.to_thread(client.measure, seconds)
        for mailbox in mailboxes:
            client.ask("PUT", f"/tenants/{mailbox.user}", {"plan": "premium"})
            client.ask("POST", "/providers", _account(mailbox))
        client.connection.close()  # the daemon closes one that is idle; the next request opens it
        while not (before := (await installation.fetch(stored))[0])["messages"]:
            await asyncio.sleep(LOOK_EVERY_S)
        busy = await asyncio.to_thread(client.measure, seconds)
        [after] = await installation.fetch(stored)
        if len(daemon.events("sync.job_finished", result="done")) == len(mailboxes):
            raise RunFailedError("all was synced too soon: give it more --messages or --accounts")
        await daemon.kill()
    return idle, busy, after["messages"] - before["messages"]


def _client(installation: Installation) -> Client:
    token = Path(installation.settings["email_sync"]["state_dir"]) / "http-token"
    address = urlsplit(installation.http_url)
    assert address.hostname is not None
    headers = {
        "Authorization": f"Bearer {token.read_text().strip()}",
        "Content-Type": "application/json",
    }
    return Client(HTTPConnection(address.hostname, address.port, timeout=30), headers)


def _account(mailbox: DovecotMailbox) -> Mapping[str, object]:
    return {
        "tenant_id": mailbox.user,
        "provider_type": "imap",
        "email_address": mailbox.user,
        "settings": {
            "host": mailbox.host,
            "port": mailbox.port,
            "security": "none",
            "username": mailbox.user,
        },
        "credentials": {"password": mailbox.password},
    }


def _print(
    idle: Mapping[str, Sequence[float]],
    busy: Mapping[str, Sequence[float]],
    messages_per_s: float,
    *,
    as_json: bool,
) -> None:
    figures = {
        page: {
            f"{state}_{name}_ms": round(1_000 * value, 2)
            for state, taken in (("idle", idle[page]), ("busy", busy[page]))
            for name, value in (("median", median(taken)), ("p99", _p99(taken)))
        }
        for page in PAGES
    }
    if as_json:
        print(json.dumps({"messages_per_s": round(messages_per_s), "pages": figures}))
        return
    print(f"{messages_per_s:.0f} messages/s are stored beside it", file=sys.stderr)
    print(f"{'page':12} {'':8} {'median':>9} {'p99':>9}")
    for page, each in figures.items():
        for state in ("idle", "busy"):
            median_ms, p99_ms = each[f"{state}_median_ms"], each[f"{state}_p99_ms"]
            print(f"{page:12} {state:8} {median_ms:6.1f} ms {p99_ms:6.1f} ms")
        ratio = each["busy_p99_ms"] / each["idle_p99_ms"]
        print(f"{page:12} {'ratio':8} {'':9} {ratio:6.1f}")


def _p99(taken: Sequence[float]) -> float:
    return quantiles(taken, n=100)[-1]


if __name__ == "__main__":
    main()
