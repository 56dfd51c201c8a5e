"""What it costs to find out that there is nothing new: the daemon's processor time for one account.

    PYTHONPATH=tests python tests/bench/noop_sync.py [--accounts N] [--messages N] [--rounds N]

The same command is measured over all accounts and over one of them; the difference is the cost of
the others, without that of starting Python and opening the database.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from daemon import COMMAND
from dovecot import DovecotServer, running_dovecot
from emailsync.emulators.mail_generator import generate
from imap_accounts import add_accounts
from installation import Installation, new_installation
from measured import RunFailedError, run_measured
from postgres import running_cluster

WITHOUT_WAITING = {
    "email_sync": {"stagger_ms": 0},
    "limits": {"imap": {"concurrent": 8, "interval_ms": 0, "connections_per_host": 100}},
    "queues": {"low": {"concurrency": 8, "limiter_max": 10_000}},
}


def main() -> None:
    """Measure and print."""
    options = _options()
    with (
        running_dovecot() as server,
        running_cluster() as cluster,
        tempfile.TemporaryDirectory(prefix="emailsync-bench-") as name,
    ):
        url = cluster.url(cluster.create_database())
        installation = new_installation(Path(name), url, server)
        installation.configure(WITHOUT_WAITING)
        _prepare(installation, server, options)
        _sync(installation, [])
        costs_s = [_noop_cost_s(installation, options.accounts) for _ in range(options.rounds)]
    if options.json:
        print(json.dumps({"accounts": options.accounts, "cpu_s_per_sync": costs_s}))
    else:
        every = ", ".join(f"{cost_s * 1000:.2f}" for cost_s in costs_s)
        print(
            f"a sync that finds nothing new: {median(costs_s) * 1000:.2f} ms of processor time, "
            f"median of {options.rounds} rounds over {options.accounts} accounts ({every})"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="processor time of a sync without news")
    parser.add_argument("--accounts", type=int, default=300)
    parser.add_argument("--messages", type=int, default=20, help="in each mailbox")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _prepare(
    installation: Installation, server: DovecotServer, options: argparse.Namespace
) -> None:
    """Make the mailboxes, and an account for each with a tenant of its own."""
    users = [f"noop{number}@example.test" for number in range(options.accounts)]
    for number, user in enumerate(users):
        server.mailbox(user).deliver(
            generate(number, index, recipient=user) for index in range(options.messages)
        )
    if (done := installation.run("migrate")).returncode:
        raise RunFailedError(done.stderr)
    asyncio.run(add_accounts(installation, [(user, server.mailbox(user)) for user in users]))


def _noop_cost_s(installation: Installation, accounts: int) -> float:
    one_s = _sync(installation, ["noop0@example.test"])
    all_s = _sync(installation, [])
    return (all_s - one_s) / (accounts - 1)


def _sync(installation: Installation, addresses: Sequence[str]) -> float:
    """Sync these accounts, all without a name; return the processor time, in seconds."""
    command = [COMMAND, "--config", str(installation.settings_file), "sync", "--json", *addresses]
    usage = run_measured(command, cwd=installation.folder)
    print(f"{addresses or 'all'}: {usage.cpu_s:.2f} s of {usage.wall_s:.2f} s", file=sys.stderr)
    return usage.cpu_s


if __name__ == "__main__":
    main()
