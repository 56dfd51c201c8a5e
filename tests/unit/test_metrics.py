"""The names on the text page are the ones asked for, and no label can name a tenant."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from emailsync.domain.accounts import ProviderType
from emailsync.domain.priority import Priority, QueueName
from emailsync.domain.runs import Outcome, RunRecord, RunResult, SyncCounts
from emailsync.metrics import Metrics, StoreGauges
from jobs import job_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ASKED_FOR = [
    ("sync_jobs_queued", "gauge"),
    ("sync_jobs_processing", "gauge"),
    ("sync_jobs_completed", "counter"),
    ("sync_jobs_failed", "counter"),
    ("sync_duration_ms", "histogram"),
    ("messages_synced_total", "counter"),
    ("circuit_breaker_state", "gauge"),
    ("queue_lag_seconds", "gauge"),
    ("rate_limit_hits", "counter"),
    ("email_sync_queue_completed", "counter"),
    ("email_sync_queue_failed", "counter"),
    ("config_reload_failed", "counter"),
]


def a_record(result: RunResult, *, error_class: str | None = None, seconds: float = 1) -> RunRecord:
    return RunRecord(
        started_at=NOW,
        duration=timedelta(seconds=seconds),
        attempt=1,
        outcome=Outcome(result=result, next_sync_at=NOW, attempt=1, error_class=error_class),
        counts=SyncCounts(created=3, updated=2, fetched_bytes=50),
    )


def run(metrics: Metrics, record: RunRecord) -> None:
    metrics.job_started(job_of("tenant-x"))
    metrics.job_finished(job_of("tenant-x"), record, at=NOW)


@pytest.mark.parametrize(("name", "kind"), ASKED_FOR)
def test_each_metric_has_its_asked_name_with_help_and_type(name: str, kind: str) -> None:
    page = Metrics().exposition().decode()

    assert re.search(rf"^# HELP {name} \S", page, re.MULTILINE)
    assert re.search(rf"^# TYPE {name} {kind}$", page, re.MULTILINE)


def test_a_finished_run_is_counted_under_the_plain_names() -> None:
    metrics = Metrics()

    run(metrics, a_record(RunResult.DONE))
    run(metrics, a_record(RunResult.RETRY, error_class="Unreachable"))
    run(metrics, a_record(RunResult.THROTTLED))
    page = metrics.exposition().decode()

    assert 'sync_jobs_completed{provider_type="imap"} 1.0' in page
    assert 'sync_jobs_failed{error_type="Unreachable",provider_type="imap"} 1.0' in page
    assert 'rate_limit_hits{provider_type="imap"} 1.0' in page
    assert 'email_sync_queue_completed{queue="high"} 1.0' in page
    assert 'email_sync_queue_failed{queue="high"} 1.0' in page
    assert 'messages_synced_total{provider_type="imap"} 15.0' in page
    assert 'sync_jobs_processing{provider_type="imap"} 0.0' in page


def test_a_job_waits_in_its_priority_until_it_leaves_the_queue() -> None:
    metrics = Metrics()

    metrics.job_queued(job_of("tenant-x"))
    metrics.job_queued(job_of("tenant-x"))
    metrics.job_unqueued(job_of("tenant-x"))

    assert 'sync_jobs_queued{priority="high"} 1.0' in metrics.exposition().decode()


def test_a_slice_or_a_stop_is_neither_completed_nor_failed() -> None:
    metrics = Metrics()

    for result in (RunResult.SLICED, RunResult.CANCELLED, RunResult.LEASE_LOST, RunResult.DEFERRED):
        run(metrics, a_record(result))

    stats = metrics.queue_stats(QueueName.HIGH)
    assert (stats.completed, stats.failed, stats.average_duration_ms) == (0, 0, None)


def test_a_queue_remembers_its_average_and_its_last_run() -> None:
    metrics = Metrics()

    run(metrics, a_record(RunResult.DONE, seconds=1))
    run(metrics, a_record(RunResult.FAILED, seconds=3))

    stats = metrics.queue_stats(QueueName.HIGH)
    assert (stats.completed, stats.failed) == (1, 1)
    assert stats.average_duration_ms == 2_000
    assert stats.last_duration_ms == 3_000
    assert stats.last_completed_at == NOW


def test_what_the_database_told_last_replaces_what_it_told_before() -> None:
    metrics = Metrics()
    circuit = ("imap", "endpoint", "OPEN")

    for circuits in ({circuit: 2}, {}):
        metrics.store_read(
            StoreGauges(
                lag_s={Priority.LOW: 12.5},
                circuits=circuits,
                accounts={("imap", "active"): 4},
                stalled={ProviderType.IMAP: 3},
                unsynced_s={ProviderType.IMAP: 60.5},
                unexplained_folders=1,
                quarantined=2,
            )
        )
    page = metrics.exposition().decode()

    assert 'queue_lag_seconds{priority="low"} 12.5' in page
    assert "OPEN" not in page
    assert 'email_sync_accounts{provider_type="imap",status="active"} 4.0' in page
    assert 'email_sync_stalled_accounts{provider_type="imap"} 3.0' in page
    assert 'email_sync_oldest_unsynced_seconds{provider_type="imap"} 60.5' in page
    assert "email_sync_unexplained_folders 1.0" in page
    assert "email_sync_quarantined 2.0" in page


def test_a_database_that_is_away_shows_until_it_is_read_again() -> None:
    metrics = Metrics()
    nothing = StoreGauges(
        lag_s={}, circuits={}, accounts={}, stalled={}, unsynced_s={}, unexplained_folders=0,
        quarantined=0,
    )  # fmt: skip

    shown = [metrics.exposition()]
    metrics.store_read(nothing)
    shown.append(metrics.exposition())
    metrics.store_away()
    shown.append(metrics.exposition())

    states = [b"email_sync_database_up 1.0" in page for page in shown]
    assert states == [False, True, False]


def test_no_label_names_a_tenant_an_account_or_its_server() -> None:
    metrics = Metrics()

    metrics.job_queued(job_of("tenant-x"))
    run(metrics, a_record(RunResult.FAILED, error_class="Unreachable"))

    assert "tenant-x" not in metrics.exposition().decode()
