"""Looks at a daemon under load: samples while it runs, and what its database tells of a round.

A round begins when every account is made due at once. Changes nothing but that.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median, quantiles
from typing import Any, Final

import asyncpg

from daemon import Daemon
from emailsync.domain.accounts import ProviderType
from emailsync.domain.priority import Priority
from emailsync.domain.runs import RunResult
from process_usage import cpu_s, family, resident_bytes

SAMPLE_S: Final = 1.0
WELL: Final = frozenset({RunResult.DONE, RunResult.SLICED})
NO_TRY: Final = frozenset({RunResult.DEFERRED, RunResult.CANCELLED, RunResult.LEASE_LOST})
"""Runs that spoke to nobody: they are neither successes nor failures."""

LOOK: Final = """
SELECT provider_type, count(*) FILTER (WHERE last_synced_at >= $1) AS synced,
    count(*) FILTER (WHERE circuit_state <> 'CLOSED') AS account_circuits,
    (SELECT count(*) FROM circuits WHERE state <> 'CLOSED'
        AND circuits.provider_type = provider_configs.provider_type) AS endpoint_circuits,
    (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND pid <> pg_backend_pid() AND backend_type = 'client backend') AS connections
FROM provider_configs GROUP BY provider_type
"""
RUNS: Final = """
SELECT account.provider_type, account.sync_priority, run.provider_id, run.result,
    run.error_class, run.duration_ms / 1000.0::float8 AS duration_s,
    extract(epoch FROM run.started_at - $1)::float8 AS began_s
FROM sync_runs AS run JOIN provider_configs AS account
    ON account.tenant_id = run.tenant_id AND account.id = run.provider_id
WHERE run.started_at >= $1 AND ($2::timestamptz IS NULL OR run.started_at < $2)
ORDER BY run.started_at
"""
LEFT_WAITING: Final = """
SELECT count(*) FILTER (WHERE next_sync_at < now() + interval '10 minutes') AS soon,
    count(*) FILTER (WHERE next_sync_at >= now() + interval '10 minutes') AS later
FROM provider_configs WHERE provider_type = $1 AND last_synced_at < $2
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look."""

    at_s: float  #: since the first round began
    cpu_s: float  #: used by the daemon and its workers so far
    resident_bytes: int
    connections: int  #: of the daemon to its database
    synced: Mapping[ProviderType, int]  #: accounts, since the round began
    open_circuits: Mapping[ProviderType, int]  #: endpoints'
    open_account_circuits: int


@dataclass(frozen=True, slots=True)
class Spread:
    """How a number of times is distributed."""

    count: int
    median_s: float
    p95_s: float
    longest_s: float

    @classmethod
    def of(cls, times_s: Sequence[float]) -> "Spread":
        """Return the distribution of some times, none included."""
        if not times_s:
            return cls(0, 0.0, 0.0, 0.0)
        p95 = quantiles(times_s, n=20)[-1] if len(times_s) > 1 else times_s[0]
        return cls(len(times_s), median(times_s), min(p95, max(times_s)), max(times_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What came of one time of everything being due."""

    name: str
    accounts: Mapping[ProviderType, int]
    synced_after_s: Mapping[ProviderType, Sequence[float]]  #: one time an account, ascending
    lag_s: Mapping[Priority, Spread]  #: from being due to the account's first run
    runs_s: Mapping[ProviderType, Spread]  #: how long the runs took that ended well
    results: Mapping[str, int]  #: runs by result, failures with their class

    @property
    def cycle_s(self) -> float | None:
        """How long it took until everybody was synced; None: not everybody was."""
        if any(len(self.synced_after_s[kind]) < count for kind, count in self.accounts.items()):
            return None
        return max((times[-1] for times in self.synced_after_s.values() if times), default=0.0)

    @property
    def success(self) -> float:
        """Share of the runs that ended well."""
        well = sum(count for name, count in self.results.items() if name in WELL)
        tried = sum(count for name, count in self.results.items() if name not in NO_TRY)
        return well / tried if tried else 0.0


@dataclass(slots=True)
class Watch:
    """A running daemon, looked at every second."""

    daemon: Daemon
    connection: "asyncpg.Connection[asyncpg.Record]"
    accounts: Mapping[ProviderType, int]
    samples: list[Sample] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)  #: when what happened
    _started_s: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first round began."""
        return time.monotonic() - self._started_s

    def mark(self, event: str) -> None:
        """Note that something happened now."""
        self.marks.append((self.elapsed_s, event))

    async def until(
        self, holds: Callable[[Sample], bool], *, since: datetime, within_s: float
    ) -> bool:
        """Sample until it holds; return whether it does within the time."""
        give_up_at = time.monotonic() + within_s
        while True:
            sample = await self._look(since)
            self.samples.append(sample)
            if holds(sample):
                return True
            if time.monotonic() > give_up_at or self.daemon.process.poll() is not None:
                return False
            await asyncio.sleep(SAMPLE_S)

    def all_synced(self, sample: Sample, *, but: ProviderType | None = None) -> bool:
        """Tell whether everybody, or everybody but one type, is synced."""
        return all(
            sample.synced.get(kind, 0) >= count
            for kind, count in self.accounts.items()
            if kind is not but
        )

    async def waiting(self, kind: ProviderType, since: datetime) -> tuple[int, int]:
        """Return how many are not synced since: those due soon, those at their next interval."""
        row = await self.connection.fetchrow(LEFT_WAITING, kind.value, since)
        assert row is not None
        return row["soon"], row["later"]

    async def read_round(self, name: str, since: datetime, until: datetime | None = None) -> Round:
        """Return what came of the round that began at `since`."""
        return _round(name, self.accounts, await self.connection.fetch(RUNS, since, until))

    async def _look(self, since: datetime) -> Sample:
        rows = await self.connection.fetch(LOOK, since)
        cpu, resident = 0.0, 0
        for pid in family(self.daemon.pid):
            with suppress(ProcessLookupError, FileNotFoundError):  # a worker that has just ended
                cpu, resident = cpu + cpu_s(pid), resident + resident_bytes(pid)
        return Sample(
            at_s=self.elapsed_s,
            cpu_s=cpu,
            resident_bytes=resident,
            connections=max((row["connections"] for row in rows), default=0),
            synced={ProviderType(row["provider_type"]): row["synced"] for row in rows},
            open_circuits={
                ProviderType(row["provider_type"]): row["endpoint_circuits"] for row in rows
            },
            open_account_circuits=sum(row["account_circuits"] for row in rows),
        )


def _round(
    name: str, accounts: Mapping[ProviderType, int], runs: Sequence[asyncpg.Record]
) -> Round:
    first: dict[Any, asyncpg.Record] = {}
    done: dict[Any, float] = {}
    results: dict[str, int] = {}
    for run in runs:
        account, result = run["provider_id"], run["result"]
        first.setdefault(account, run)
        if result == RunResult.DONE:
            done.setdefault(account, run["began_s"] + run["duration_s"])
        named = f"{result} {run['error_class']}" if result not in WELL | NO_TRY else result
        results[named] = results.get(named, 0) + 1
    kinds = {account: ProviderType(run["provider_type"]) for account, run in first.items()}
    return Round(
        name=name,
        accounts=accounts,
        synced_after_s={
            kind: sorted(at for account, at in done.items() if kinds[account] is kind)
            for kind in accounts
        },
        lag_s={
            priority: Spread.of(
                [run["began_s"] for run in first.values() if run["sync_priority"] == priority]
            )
            for priority in Priority
        },
        runs_s={
            kind: Spread.of(
                [
                    run["duration_s"]
                    for run in runs
                    if run["provider_type"] == kind and run["result"] in WELL
                ]
            )
            for kind in accounts
        },
        results=results,
    )
