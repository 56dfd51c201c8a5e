"""What a load run shows: what was held against what, tables, and the same as JSON.

Knows how results look, not where they come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from load_watch import Round, Sample

MAILBOX_QUOTA: Final = {"gmail": 6_000, "graph": 10_000}
"""Units a minute, requests in ten minutes: providers' documented limits of one mailbox."""
PROJECT_QUOTA: Final = {"gmail": 1_200_000, "graph": 130_000}
"""Units a minute, requests in ten seconds: of our application."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim, and whether it came true."""

    claim: str
    measured: str
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A whole run."""

    scenario: str
    setting: str
    rounds: Sequence[Round]
    samples: Sequence[Sample]
    marks: Sequence[tuple[float, str]]
    usage: Mapping[str, Any]
    imap_connections: int
    processors: int
    log_lines: Mapping[str, int]  #: warnings and errors of the daemon, by event
    verdicts: Sequence[Verdict]

    @property
    def is_good(self) -> bool:
        """Whether every claim came true."""
        return all(verdict.holds for verdict in self.verdicts)

    @property
    def cpu_share(self) -> float:
        """Share of one processor that the daemon used on average."""
        first, last = self.samples[0], self.samples[-1]
        return last.cpu_s / last.at_s if last is not first else 0.0

    @property
    def peak_resident_bytes(self) -> int:
        """The most memory seen."""
        return max(sample.resident_bytes for sample in self.samples)

    @property
    def peak_connections(self) -> int:
        """The most connections seen."""
        return max(sample.connections for sample in self.samples)


def throttled(usage: Mapping[str, Any]) -> int:
    """Return how often a provider answered 429, alone or in batches."""
    return sum(each["throttled"] for each in usage.values())


def peak_shares(usage: Mapping[str, Any]) -> Mapping[str, float]:
    """Return for each provider the largest share of its quota that any mailbox used."""
    return {
        name: max(usage[name]["peak_mailbox_units"].values(), default=0) / limit
        for name, limit in MAILBOX_QUOTA.items()
        if name in usage
    }


def as_text(result: Result) -> str:
    """Return the tables."""
    lines = [f"{result.scenario}: {result.setting}", ""]
    for each in result.rounds:
        lines += _round_lines(each)
    lines += _resource_lines(result)
    lines += _provider_lines(result)
    if result.log_lines:
        said = ", ".join(f"{name} x {count}" for name, count in sorted(result.log_lines.items()))
        lines.append(f"warnings in the daemon's log: {said}")
    lines.append("")
    lines += [
        f"{'ok    ' if each.holds else 'MISSED'}  {each.claim}: {each.measured}"
        for each in result.verdicts
    ]
    return "\n".join(lines)


def as_json(result: Result) -> Mapping[str, Any]:
    """Return the same for programs, without the samples."""
    return {
        "scenario": result.scenario,
        "setting": result.setting,
        "rounds": [_round_facts(each) for each in result.rounds],
        "cpu_share_of_one_processor": round(result.cpu_share, 3),
        "peak_resident_bytes": result.peak_resident_bytes,
        "peak_connections": result.peak_connections,
        "imap_connections": result.imap_connections,
        "requests": {name: sum(each["requests"].values()) for name, each in result.usage.items()},
        "units": {name: each["units"] for name, each in result.usage.items()},
        "throttled": throttled(result.usage),
        "peak_share_of_mailbox_quota": peak_shares(result.usage),
        "log": result.log_lines,
        "verdicts": [
            {"claim": each.claim, "measured": each.measured, "holds": each.holds}
            for each in result.verdicts
        ],
    }


def in_minutes(seconds: float | None) -> str:
    """Return a time for people."""
    if seconds is None:
        return "not all"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min {rest:02.0f} s" if minutes else f"{rest:.1f} s"


def _round_lines(each: Round) -> Sequence[str]:
    accounts = sum(each.accounts.values())
    lines = [
        (
            f"{each.name}: {accounts:,} accounts due at once, all synced after "
            f"{in_minutes(each.cycle_s)}; {each.success:.2%} of the runs ended well"
        ),
        (
            f"{'type':12}{'accounts':>9}{'synced':>8}{'half after':>12}{'last after':>12}"
            f"{'run median':>12}{'run p95':>10}"
        ),
    ]
    for kind, count in each.accounts.items():
        times, runs = each.synced_after_s[kind], each.runs_s[kind]
        half = f"{times[len(times) // 2]:.1f} s" if times else "-"
        last = f"{times[-1]:.1f} s" if times else "-"
        lines.append(
            f"{kind:12}{count:9,}{len(times):8,}{half:>12}{last:>12}"
            f"{runs.median_s:10.2f} s{runs.p95_s:8.2f} s"
        )
    lines.append(f"{'lag':12}{'accounts':>9}{'median':>12}{'p95':>12}{'longest':>12}")
    lines += [
        f"{priority.name.lower():12}{lag.count:9,}{lag.median_s:10.1f} s{lag.p95_s:10.1f} s"
        f"{lag.longest_s:10.1f} s"
        for priority, lag in each.lag_s.items()
    ]
    results = ", ".join(f"{name} {count:,}" for name, count in sorted(each.results.items()))
    return [*lines, f"runs: {results}", ""]


def _resource_lines(result: Result) -> Sequence[str]:
    share, all_ = result.cpu_share, result.processors
    used = f"{share:.0%} of one processor on average ({share / all_:.0%} of the machine's {all_})"
    memory = f"{result.peak_resident_bytes / 1e6:,.0f} MB at most"
    return [f"daemon: {used}, {memory}, {result.peak_connections} database connections at most"]


def _provider_lines(result: Result) -> Sequence[str]:
    lines = [
        (
            f"{'provider':12}{'requests':>9}{'units':>11}{'429':>5}{'peak of a mailbox':>20}"
            f"{'of its quota':>14}{'at once':>9}{'peak of all':>13}{'of the quota':>14}"
        )
    ]
    for name, usage in result.usage.items():
        line = f"{name:12}{sum(usage['requests'].values()):9,}"
        if name in MAILBOX_QUOTA:
            peak = max(usage["peak_mailbox_units"].values(), default=0)
            at_once = max(usage["peak_running"].values(), default=0)
            of_all = usage["peak_project_units"]
            line += (
                f"{usage['units']:11,}{usage['throttled']:5}{peak:20,}"
                f"{peak / MAILBOX_QUOTA[name]:14.0%}{at_once:9}{of_all:13,}"
                f"{of_all / PROJECT_QUOTA[name]:14.1%}"
            )
        lines.append(line)
    if result.imap_connections:
        lines.append(f"{'imap':12}{result.imap_connections:9,} connections")
    return lines


def _round_facts(each: Round) -> Mapping[str, Any]:
    return {
        "name": each.name,
        "cycle_s": each.cycle_s,
        "success": each.success,
        "results": each.results,
        "types": {
            kind.value: {
                "accounts": count,
                "synced": len(each.synced_after_s[kind]),
                "half_after_s": _half(each.synced_after_s[kind]),
                "last_after_s": max(each.synced_after_s[kind], default=None),
                "run_median_s": each.runs_s[kind].median_s,
                "run_p95_s": each.runs_s[kind].p95_s,
            }
            for kind, count in each.accounts.items()
        },
        "lag": {
            priority.name.lower(): {
                "median_s": lag.median_s,
                "p95_s": lag.p95_s,
                "longest_s": lag.longest_s,
            }
            for priority, lag in each.lag_s.items()
        },
    }


def _half(times_s: Sequence[float]) -> float | None:
    return times_s[len(times_s) // 2] if times_s else None
