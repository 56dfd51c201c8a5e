"""What is counted, by the names that the operators' dashboards use. No label names a tenant.

Every series is here and nowhere else. `prometheus-client` insists on `_total` for counters; the
counters that were asked for without it get their plain name back in `exposition`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from emailsync.domain.accounts import ProviderType
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority, QueueName
from emailsync.domain.runs import RunRecord, RunResult

DURATION_BUCKETS_MS: Final = (
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    30_000,
    60_000,
    300_000,
)
LOOP_LAG_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
PLAIN_COUNTERS: Final = re.compile(
    rb"\b(sync_jobs_completed|sync_jobs_failed|rate_limit_hits|config_reload_failed"
    rb"|email_sync_queue_completed|email_sync_queue_failed)_total\b"
)
NOT_FAILED: Final = frozenset(
    {
        RunResult.DONE,
        RunResult.SLICED,
        RunResult.THROTTLED,
        RunResult.DEFERRED,
        RunResult.LEASE_LOST,
        RunResult.CANCELLED,
    }
)
"""Ends that say nothing against the account: the work goes on here, elsewhere or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """What one queue holds now, and what it has done since the daemon started."""

    waiting: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    total_duration_ms: float = 0
    last_duration_ms: float | None = None
    last_completed_at: datetime | None = None

    @property
    def average_duration_ms(self) -> float | None:
        """Mean over every finished run, failed ones included; None before the first."""
        runs = self.completed + self.failed
        return self.total_duration_ms / runs if runs else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreGauges:
    """What only the database can tell; read every few seconds."""

    lag_s: Mapping[Priority, float]  #: how long the oldest due account has waited
    circuits: Mapping[
        tuple[str, str, str], int
    ]  #: (provider type, account/endpoint, state) -> count
    accounts: Mapping[tuple[str, str], int]  #: (provider type, status) -> count
    stalled: Mapping[ProviderType, int]  #: accounts, see domain/freshness.py
    unsynced_s: Mapping[ProviderType, float]  #: by how much the least fresh exceeds its interval
    unexplained_folders: int  #: stored and remote count differ after a repair
    quarantined: int


class Metrics:
    """The daemon's counters; one instance a process, on a registry of its own."""

    def __init__(self) -> None:
        # The start time of each series is of no use and doubles the page.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it bare
        self.registry = CollectorRegistry()
        self._running = dict.fromkeys(ProviderType, 0)
        self._queues = {queue: QueueStats() for queue in QueueName}
        self._jobs_metrics()
        self._store_metrics()
        self._process_metrics()
        self._start_at_zero()

    def job_queued(self, job: SyncJob) -> None:
        """Count a job that now waits in its queue or is parked under a limit."""
        self._queued.labels(job.priority.name.lower()).inc()
        self._move(job.queue, waiting=1)

    def job_unqueued(self, job: SyncJob) -> None:
        """Count a job that left its queue: to run, or because the daemon gives it back."""
        self._queued.labels(job.priority.name.lower()).dec()
        self._move(job.queue, waiting=-1)

    def job_started(self, job: SyncJob) -> None:
        """Count a run that began."""
        self._processing.labels(job.provider_type.value).inc()
        self._running[job.provider_type] += 1
        self._move(job.queue, running=1)

    def job_finished(self, job: SyncJob, record: RunRecord, *, at: datetime) -> None:
        """Count a run that ended at `at` (aware UTC); one call for each `job_started`."""
        provider, outcome, counts = job.provider_type.value, record.outcome, record.counts
        duration_ms = record.duration.total_seconds() * 1_000
        self._processing.labels(provider).dec()
        self._running[job.provider_type] -= 1
        self._move(job.queue, running=-1)
        self._duration.labels(provider).observe(duration_ms)
        self._messages.labels(provider).inc(counts.created + counts.updated)
        self._bytes.labels(provider).inc(counts.fetched_bytes)
        if outcome.result is RunResult.THROTTLED:
            self.rate_limit_hit(job.provider_type)
        if outcome.result is RunResult.DONE:
            self._completed.labels(provider).inc()
        elif outcome.result not in NOT_FAILED:
            self._failed.labels(provider, outcome.error_class or outcome.result.value).inc()
        self._count_in_queue(job.queue, outcome.result, duration_ms, at)

    def rate_limit_hit(self, provider_type: ProviderType) -> None:
        """Count an answer by which a provider asked us to slow down."""
        self._rate_limit_hits.labels(provider_type.value).inc()

    def reload_refused(self) -> None:
        """Count a reload that changed nothing, because the file was invalid."""
        self._reload_failed.inc()

    def loop_lagged(self, lag_s: float, busy_s: float) -> None:
        """Record by how much the loop was late, and how long its thread computed meanwhile."""
        self._loop_lag.observe(lag_s)
        self._loop_stall.observe(min(lag_s, busy_s))

    def store_read(self, gauges: StoreGauges) -> None:
        """Replace what the database told last time."""
        for priority in Priority:
            self._lag.labels(priority.name.lower()).set(gauges.lag_s.get(priority, 0))
        self._circuits.clear()
        for circuit, count in gauges.circuits.items():
            self._circuits.labels(*circuit).set(count)
        self._accounts.clear()
        for account, count in gauges.accounts.items():
            self._accounts.labels(*account).set(count)
        for kind in ProviderType:
            self._stalled.labels(kind.value).set(gauges.stalled.get(kind, 0))
            self._unsynced.labels(kind.value).set(gauges.unsynced_s.get(kind, 0))
        self._database_up.set(1)
        self._unexplained.set(gauges.unexplained_folders)
        self._quarantined.set(gauges.quarantined)

    def store_away(self) -> None:
        """Say that the database could not be read; what it told last time stays."""
        self._database_up.set(0)

    def disk_read(self, free_bytes: int) -> None:
        """Record how much room the state directory's file system has."""
        self._disk_free.set(free_bytes)

    def queue_stats(self, queue: QueueName) -> QueueStats:
        """Return what one queue has done since the daemon started."""
        return self._queues[queue]

    def running(self, provider_type: ProviderType) -> int:
        """Return how many runs of a provider type are under way."""
        return self._running[provider_type]

    def exposition(self) -> bytes:
        """Return the Prometheus text page, HELP and TYPE lines included."""
        return PLAIN_COUNTERS.sub(rb"\1", generate_latest(self.registry))

    def _move(self, queue: QueueName, *, waiting: int = 0, running: int = 0) -> None:
        stats = self._queues[queue]
        self._queues[queue] = replace(
            stats, waiting=stats.waiting + waiting, running=stats.running + running
        )

    def _count_in_queue(
        self, queue: QueueName, result: RunResult, duration_ms: float, at: datetime
    ) -> None:
        stats, done = self._queues[queue], result is RunResult.DONE
        if not done and result in NOT_FAILED:
            return
        (self._queue_completed if done else self._queue_failed).labels(queue.value).inc()
        self._queues[queue] = replace(
            stats,
            completed=stats.completed + done,
            failed=stats.failed + (not done),
            total_duration_ms=stats.total_duration_ms + duration_ms,
            last_duration_ms=duration_ms,
            last_completed_at=at if done else stats.last_completed_at,
        )

    def _jobs_metrics(self) -> None:
        registry, by_type = self.registry, ("provider_type",)
        self._queued = Gauge(
            "sync_jobs_queued", "Jobs waiting in a queue now.", ("priority",), registry=registry
        )
        self._processing = Gauge(
            "sync_jobs_processing", "Jobs running now.", by_type, registry=registry
        )
        self._completed = Counter(
            "sync_jobs_completed", "Runs that brought their account up to date.", by_type,
            registry=registry,
        )  # fmt: skip
        self._failed = Counter(
            "sync_jobs_failed", "Runs that failed, retried ones included.",
            ("provider_type", "error_type"), registry=registry,
        )  # fmt: skip
        self._duration = Histogram(
            "sync_duration_ms", "How long one run took.", by_type, registry=registry,
            buckets=DURATION_BUCKETS_MS,
        )  # fmt: skip
        self._messages = Counter(
            "messages_synced_total", "Messages stored or updated.", by_type, registry=registry
        )
        self._bytes = Counter(
            "email_sync_fetched_bytes_total", "Bytes of mail fetched.", by_type, registry=registry
        )
        self._rate_limit_hits = Counter(
            "rate_limit_hits", "Answers that asked us to slow down.", by_type, registry=registry
        )
        self._queue_completed = Counter(
            "email_sync_queue_completed", "Runs that ended well.", ("queue",), registry=registry
        )
        self._queue_failed = Counter(
            "email_sync_queue_failed", "Runs that failed.", ("queue",), registry=registry
        )

    def _store_metrics(self) -> None:
        registry = self.registry
        self._lag = Gauge(
            "queue_lag_seconds", "How long the oldest due account has waited.", ("priority",),
            registry=registry,
        )  # fmt: skip
        self._circuits = Gauge(
            "circuit_breaker_state", "Circuits in each state.",
            ("provider_type", "scope", "state"), registry=registry,
        )  # fmt: skip
        self._accounts = Gauge(
            "email_sync_accounts", "Accounts in each status.", ("provider_type", "status"),
            registry=registry,
        )  # fmt: skip
        self._stalled = Gauge(
            "email_sync_stalled_accounts",
            "Accounts that are due or held for too long though nothing keeps them back.",
            ("provider_type",), registry=registry,
        )  # fmt: skip
        self._unsynced = Gauge(
            "email_sync_oldest_unsynced_seconds",
            "By how much the least fresh account is older than its interval allows.",
            ("provider_type",), registry=registry,
        )  # fmt: skip
        self._database_up = Gauge(
            "email_sync_database_up", "Whether the database could be read.", registry=registry
        )
        self._unexplained = Gauge(
            "email_sync_unexplained_folders",
            "Folders whose stored count differs from the server's after a repair.",
            registry=registry,
        )
        self._quarantined = Gauge(
            "email_sync_quarantined", "Messages that could not be stored.", registry=registry
        )

    def _process_metrics(self) -> None:
        self._disk_free = Gauge(
            "email_sync_state_dir_free_bytes", "Room left on the state directory's file system.",
            registry=self.registry,
        )  # fmt: skip
        self._reload_failed = Counter(
            "config_reload_failed", "Reloads refused because the settings were invalid.",
            registry=self.registry,
        )  # fmt: skip
        self._loop_lag = Histogram(
            "event_loop_lag_seconds", "By how much the event loop woke late, probed every 100 ms.",
            registry=self.registry, buckets=LOOP_LAG_BUCKETS_S,
        )  # fmt: skip
        self._loop_stall = Histogram(
            "event_loop_stall_seconds",
            "The part of the lag that was our own work, not a machine that is too busy.",
            registry=self.registry, buckets=LOOP_LAG_BUCKETS_S,
        )  # fmt: skip

    def _start_at_zero(self) -> None:
        """Create every series whose labels are known, so rates are right from the start."""
        for priority in Priority:
            self._queued.labels(priority.name.lower())
            self._lag.labels(priority.name.lower())
        for queue in QueueName:
            self._queue_completed.labels(queue.value)
            self._queue_failed.labels(queue.value)
        for kind in ProviderType:
            for metric in (
                self._processing, self._completed, self._duration, self._messages, self._bytes,
                self._rate_limit_hits, self._stalled, self._unsynced,
            ):  # fmt: skip
                metric.labels(kind.value)
