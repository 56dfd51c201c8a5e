"""How fast a mailbox is brought home: `emailsyncd sync` into PostgreSQL, mbsync into Maildir.

    PYTHONPATH=tests python tests/bench/first_sync.py [--messages N] [--rounds N]

Both read the same mailbox of one Dovecot on this machine, in turn, each into a place that is new,
with the durability that is its default (fsync on). The ratio is taken within a pair of runs, since
machines have good and bad minutes. A run that ends without every message is an error.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from daemon import COMMAND
from dovecot import DovecotServer, running_dovecot
from emailsync.emulators.mail_generator import generate
from installation import new_installation
from measured import RunFailedError, Usage, run_measured
from postgres import PostgresCluster, running_cluster

SEED = 20_000
USER = "bench@example.test"
PROGRAMS = ("mbsync", "emailsyncd")

MBSYNC_CONFIGURATION = """
IMAPAccount bench
Host {mailbox.host}
Port {mailbox.port}
User {mailbox.user}
Pass {mailbox.password}
SSLType None

IMAPStore far
Account bench

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
Sync Pull
SyncState *
"""

COUNT_STORED = "SELECT count(*) FROM messages WHERE deleted_at IS NULL AND raw IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Bench:
    """The mailbox that both read, and where the database is."""

    server: DovecotServer
    cluster: PostgresCluster
    messages: int

    def run(self, program: str) -> Usage:
        """Run one program into a new place and check that nothing is missing.

        Raises:
            RunFailedError: it failed, or stored another number of messages.
        """
        with tempfile.TemporaryDirectory(prefix="emailsync-bench-") as name:
            sync = self._mbsync if program == "mbsync" else self._emailsyncd
            usage, stored = sync(Path(name))
        if stored != self.messages:
            raise RunFailedError(f"{program} stored {stored} of {self.messages} messages")
        _say(f"{program}: {self.messages / usage.wall_s:,.0f} messages/s")
        return usage

    def _mbsync(self, folder: Path) -> tuple[Usage, int]:
        maildir = folder / "mail"
        maildir.mkdir()
        settings = folder / "mbsyncrc"
        mailbox = self.server.mailbox(USER)
        settings.write_text(MBSYNC_CONFIGURATION.format(mailbox=mailbox, maildir=maildir))
        usage = run_measured(["mbsync", "-q", "-c", str(settings), "-a"], cwd=folder)
        return usage, sum(len(list(maildir.glob(f"INBOX/{part}/*"))) for part in ("new", "cur"))

    def _emailsyncd(self, folder: Path) -> tuple[Usage, int]:
        database = self.cluster.create_database()
        installation = new_installation(folder, self.cluster.url(database), self.server)
        installation.add_account(self.server.mailbox(USER))
        command = [COMMAND, "--config", str(installation.settings_file), "sync", "--json"]
        usage = run_measured(command, cwd=folder)
        rows = asyncio.run(installation.fetch(COUNT_STORED))
        self.cluster.drop_database(database)
        return usage, rows[0][0]


def main() -> None:
    """Measure and print."""
    options = _options()
    with running_dovecot() as server, running_cluster() as cluster:
        bench = Bench(server, cluster, options.messages)
        _say(f"preparing {options.messages:,} messages")
        server.mailbox(USER).deliver(
            generate(SEED, index, recipient=USER) for index in range(options.messages)
        )
        rounds = []
        for number in range(options.rounds):
            # Who begins alternates, so that neither always finds the warmer server.
            turn = options.only[:: 1 if number % 2 == 0 else -1]
            rounds.append({program: bench.run(program) for program in turn})
    if options.json:
        measured = [{program: asdict(usage) for program, usage in pair.items()} for pair in rounds]
        print(json.dumps({"messages": options.messages, "rounds": measured}))
    else:
        _print_table(rounds, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="first sync: emailsyncd against mbsync")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _print_table(rounds: Sequence[Mapping[str, Usage]], options: argparse.Namespace) -> None:
    print(f"first sync of {options.messages:,} messages; median of {len(rounds)} runs (all runs)")
    print(f"{'':12}{'messages/s':>12}{'wall s':>9}{'cpu s':>9}{'peak MB':>9}  wall s of each run")
    for program in options.only:
        usages = [pair[program] for pair in rounds]
        wall_s = median(usage.wall_s for usage in usages)
        print(
            f"{program:12}{options.messages / wall_s:12,.0f}{wall_s:9.2f}"
            f"{median(usage.cpu_s for usage in usages):9.2f}"
            f"{median(usage.peak_resident_bytes for usage in usages) / 1e6:9.1f}"
            f"  {', '.join(f'{usage.wall_s:.2f}' for usage in usages)}"
        )
    if set(options.only) == set(PROGRAMS):
        ratios = [pair["mbsync"].wall_s / pair["emailsyncd"].wall_s for pair in rounds]
        print(
            f"emailsyncd is {median(ratios):.2f} times as fast as mbsync, median of the pairs "
            f"({', '.join(f'{ratio:.2f}' for ratio in ratios)})"
        )
    print("cpu and memory are the client's: PostgreSQL's and Dovecot's own are not in them")


def _say(progress: str) -> None:
    print(progress, file=sys.stderr)


if __name__ == "__main__":
    main()
