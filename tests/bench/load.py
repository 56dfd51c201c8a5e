"""The daemon under load: how soon all are synced, what it takes, what a failing provider does.

    PYTHONPATH=tests python tests/bench/load.py mixed|thousand|failing|quotas [--plot FOLDER]

The real `emailsyncd --config` with its default limits, against PostgreSQL with fsync, a Dovecot
behind a relay and the emulated Gmail, Graph and token endpoints, each a process of its own. All
accounts are due at once. Every run ends by itself and takes everything with it that it started.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

import asyncpg

from daemon import Daemon, running_daemon
from emailsync.domain.accounts import ProviderType
from load_crowd import Crowd
from load_plot import write_plot
from load_report import Result, Verdict, as_json, as_text, in_minutes, peak_shares, throttled
from load_watch import SAMPLE_S, Round, Watch
from load_world import World, running_world, say
from measured import RunFailedError

PREPARING_S: Final = 600.0  #: for servers, mail and accounts
OUTAGE_S: Final = 30.0  #: how long the provider goes on failing once its circuit is open
RECOVERY_S: Final = 480.0  #: the circuit's five minutes, and time for what waited
ROUND_TRIP_MS: Final = 50.0
FEW_CONNECTIONS: Final = 20
MEMORY_BYTES: Final = 2 * 10**9
DIES_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--")

Drive = Callable[["Run"], Coroutine[Any, Any, Sequence[Verdict]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is run, and by when all should be synced."""

    crowd: Crowd
    target_s: float
    drive: Drive


@dataclass(slots=True)
class Run:
    """One scenario under way."""

    scenario: Scenario
    world: World
    watch: Watch
    failing: ProviderType
    rounds: list[Round]

    async def everything_due(self, name: str) -> Round:
        """Make all accounts due and wait for them, twice as long as the target at most."""
        since = await self.world.make_all_due(self.watch.connection)
        self.watch.mark(name)
        say(f"{name}: everything is due")
        await self.watch.until(
            self.watch.all_synced, since=since, within_s=2 * self.scenario.target_s
        )
        self.rounds.append(await self.watch.read_round(name, since))
        return self.rounds[-1]


async def one_cycle(run: Run) -> Sequence[Verdict]:
    """Sync everybody once."""
    first = await run.everything_due("first sync")
    return [
        _in_time(first, run.scenario.target_s),
        Verdict("over 99 % of the runs end well", f"{first.success:.2%}", first.success > 0.99),
    ]


async def three_cycles(run: Run) -> Sequence[Verdict]:
    """Sync everybody, and twice more at once, so that windows of quota overlap."""
    first = await run.everything_due("first sync")
    later = [await run.everything_due(f"nothing new, {number}") for number in (1, 2)]
    shares = peak_shares(run.world.usage())
    at_once = max(run.world.usage()["graph"]["peak_running"].values(), default=0)
    return [
        *(_in_time(each, run.scenario.target_s) for each in (first, *later)),
        Verdict(
            "no account exceeds 50 % of its quota in any window",
            ", ".join(f"{name} {share:.1%}" for name, share in shares.items()),
            max(shares.values()) <= 0.5,
        ),
        Verdict("at most 2 of Graph's 4 requests at once", f"{at_once}", at_once <= 2),
    ]


async def one_fails(run: Run) -> Sequence[Verdict]:
    """Let one provider fail while all are due, then work again."""
    await run.everything_due("first sync")
    before = await run.everything_due("all well")
    watch, kind = run.watch, run.failing
    run.world.fail(kind)
    since = await run.world.make_all_due(watch.connection)
    watch.mark(f"{kind} fails")
    say(f"{kind} fails, everything is due")
    others = await watch.until(
        partial(watch.all_synced, but=kind), since=since, within_s=2 * run.scenario.target_s
    )
    opened = await watch.until(
        lambda sample: sample.open_circuits.get(kind, 0) > 0, since=since, within_s=OUTAGE_S
    )
    await watch.until(lambda _: False, since=since, within_s=OUTAGE_S)
    during = await watch.read_round(f"{kind} fails", since)
    run.rounds.append(during)
    run.world.heal(kind)
    healed_s = watch.elapsed_s
    watch.mark("it works again")
    say(f"{kind} works again")
    closed = await watch.until(
        lambda sample: not sample.open_circuits.get(kind), since=since, within_s=RECOVERY_S
    )
    closed_s = watch.elapsed_s - healed_s
    soon, later = await _all_back(watch, kind, since)
    back_s = watch.elapsed_s - healed_s
    return [
        Verdict(f"the circuit of {kind} opens", "it did" if opened else "it did not", opened),
        *(_unchanged(other, before, during) for other in watch.accounts if other is not kind),
        Verdict("all others are synced meanwhile", "yes" if others else "no", others),
        Verdict(
            "it recovers by itself",
            f"circuit closed {closed_s:.0f} s after the end of the outage, all that were due synced"
            f" after {back_s:.0f} s; {soon} are not, {later} wait for their next interval",
            closed and not soon,
        ),
    ]


async def _all_back(watch: Watch, kind: ProviderType, since: Any) -> tuple[int, int]:
    """Wait for accounts that are due within minutes."""
    give_up_s = watch.elapsed_s + RECOVERY_S
    while (left := await watch.waiting(kind, since))[0] and watch.elapsed_s < give_up_s:
        await watch.until(lambda _: True, since=since, within_s=0)
        await asyncio.sleep(SAMPLE_S)
    return left


def _unchanged(kind: ProviderType, before: Round, during: Round) -> Verdict:
    """Hold the times of one type while another fails against those when all is well."""
    was, became = (each.synced_after_s[kind] for each in (before, during))
    runs = before.runs_s[kind].median_s, during.runs_s[kind].median_s
    measured = (
        f"last synced after {max(was, default=0):.1f} s, then {max(became, default=0):.1f} s;"
        f" a run took {runs[0]:.2f} s, then {runs[1]:.2f} s"
    )
    is_so = bool(was and became) and became[-1] <= 1.2 * was[-1] + 2 and runs[1] <= 1.2 * runs[0]
    return Verdict(f"the times of {kind} are unchanged", measured, is_so)


def _in_time(each: Round, target_s: float) -> Verdict:
    within = each.cycle_s is not None and each.cycle_s <= target_s
    claim = f"{each.name}: all synced within {in_minutes(target_s)}"
    return Verdict(claim, in_minutes(each.cycle_s), within)


ALL: Final = tuple(ProviderType)
BY_TOKEN: Final = (ProviderType.GOOGLE, ProviderType.MICROSOFT)
SCENARIOS: Final[Mapping[str, Scenario]] = {
    "mixed": Scenario(
        crowd=Crowd(tenants=100, accounts_per_tenant=2, kinds=ALL, messages=12),
        target_s=300,
        drive=one_cycle,
    ),
    "thousand": Scenario(
        crowd=Crowd(tenants=1_000, accounts_per_tenant=2, kinds=ALL, messages=8),
        target_s=1_800,
        drive=one_cycle,
    ),
    "failing": Scenario(
        crowd=Crowd(tenants=60, accounts_per_tenant=3, kinds=ALL, messages=8),
        target_s=300,
        drive=one_fails,
    ),
    "quotas": Scenario(
        crowd=Crowd(
            tenants=500,
            accounts_per_tenant=2,
            kinds=BY_TOKEN,
            messages=8,
            large_every=99,  # odd, so that both types have some
            large_messages=260,
        ),
        target_s=1_200,
        drive=three_cycles,
    ),
}


def main() -> int:
    """Run one scenario and print what came out."""
    options = _options()
    scenario = _scaled(SCENARIOS[options.scenario], options)
    _end_by_itself(PREPARING_S + 8 * scenario.target_s + 3 * RECOVERY_S)
    with (
        tempfile.TemporaryDirectory(prefix="emailsync-load-") as name,
        running_world(
            scenario.crowd, Path(name), round_trip_s=options.round_trip_ms / 1_000
        ) as world,
    ):
        result = asyncio.run(_run(scenario, world, options))
    print(json.dumps(as_json(result), indent=1) if options.json else as_text(result))
    if options.plot is not None:
        say(f"the plot is {write_plot(result, options.plot)}")
    return 0 if result.is_good else 1


async def _run(scenario: Scenario, world: World, options: argparse.Namespace) -> Result:
    installation = world.installation
    async with running_daemon(
        installation.settings_file, folder=installation.folder, launcher=DIES_WITH_US
    ) as daemon:
        connection = await asyncpg.connect(installation.database_url)
        try:
            accounts = Counter(mailbox.kind for mailbox in world.mailboxes)
            watch = Watch(daemon, connection, accounts)
            run = Run(scenario, world, watch, ProviderType(options.failing), [])
            verdicts = await scenario.drive(run)
        finally:
            await connection.close()
        if (code := daemon.process.poll()) is not None:
            raise RunFailedError(f"the daemon ended with {code}: {daemon.log()[-3:]}")
        result = Result(
            scenario=options.scenario,
            setting=_setting(scenario, options),
            rounds=run.rounds,
            samples=watch.samples,
            marks=watch.marks,
            usage=world.usage(),
            imap_connections=0 if world.relay is None else world.relay.connections,
            processors=os.cpu_count() or 1,
            log_lines=_complaints(daemon),
            verdicts=verdicts,
        )
        await daemon.terminate()
    return replace(result, verdicts=[*verdicts, *_common_verdicts(result)])


def _common_verdicts(result: Result) -> Sequence[Verdict]:
    refusals, connections = throttled(result.usage), result.peak_connections
    memory, share = result.peak_resident_bytes, result.cpu_share / result.processors
    return [
        Verdict("no 429 is answered", f"{refusals}", refusals == 0),
        Verdict("under 20 database connections", f"{connections}", connections < FEW_CONNECTIONS),
        Verdict("under 2 GB of memory", f"{memory / 1e6:,.0f} MB", memory < MEMORY_BYTES),
        Verdict("under 50 % of the machine's processors", f"{share:.0%}", share < 0.5),
    ]


def _complaints(daemon: Daemon) -> Mapping[str, int]:
    return Counter(
        line["event"] for line in daemon.log() if line.get("level") in {"warning", "error"}
    )


def _setting(scenario: Scenario, options: argparse.Namespace) -> str:
    crowd = scenario.crowd
    large = ""
    if crowd.large_every:
        large = f", every {crowd.large_every}th {crowd.large_messages}"
    accounts = f"{crowd.accounts_per_tenant} accounts ({', '.join(crowd.kinds)})"
    return (
        f"{crowd.tenants:,} tenants x {accounts}, about {crowd.messages} messages each{large};"
        f" {options.round_trip_ms:g} ms round trip"
    )


def _scaled(scenario: Scenario, options: argparse.Namespace) -> Scenario:
    crowd = replace(
        scenario.crowd,
        tenants=options.tenants or scenario.crowd.tenants,
        messages=options.messages or scenario.crowd.messages,
    )
    return replace(scenario, crowd=crowd)


def _end_by_itself(after_s: float) -> None:
    """Bound the whole run, and let a signal end it as an error would: nothing is left behind."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise RunFailedError(f"ended by {signal.Signals(number).name}")

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.alarm(int(after_s))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="the daemon under load")
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--tenants", type=int, help="instead of the scenario's own number")
    parser.add_argument("--messages", type=int, help="in a mailbox, about")
    parser.add_argument("--round-trip-ms", type=float, default=ROUND_TRIP_MS)
    parser.add_argument("--failing", choices=list(ProviderType), default=ProviderType.MICROSOFT)
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="write a picture there")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
