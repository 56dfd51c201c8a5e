"""What a finished run leaves behind: due times, errors, circuits."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emailsync.config import LiveSettings, Settings
from emailsync.crypto import KeyRing
from emailsync.domain.errors import LeaseLost
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import QueueName
from emailsync.domain.runs import Outcome, RunRecord, RunResult, SyncCounts
from emailsync.ports import ClaimRequest
from emailsync.store.database import Database
from emailsync.store.leases import PostgresLeaseStore
from emailsync.store.mail import PostgresMailStore
from store_rig import account_row, add_account

STARTED = datetime(2026, 1, 1, tzinfo=UTC)
ANY = ClaimRequest(queue=QueueName.NORMAL, limit=10)
ENDPOINT = "imap.example.test:993"

Connection = "asyncpg.Connection[asyncpg.Record]"


def record(
    result: RunResult, wait: timedelta | None = timedelta(hours=1), **outcome: Any
) -> RunRecord:
    """Return a run of three seconds whose next one is due so long after it."""
    ended_at = STARTED + timedelta(seconds=3)
    return RunRecord(
        started_at=STARTED,
        duration=timedelta(seconds=3),
        attempt=1,
        outcome=Outcome(
            result=result,
            next_sync_at=None if wait is None else ended_at + wait,
            **{"attempt": 1} | outcome,
        ),
        counts=SyncCounts(created=4, fetched_bytes=2**40),
    )


FAILED = record(
    RunResult.RETRY,
    timedelta(seconds=5),
    attempt=2,
    error="no route",
    error_class="Unreachable",
    counts_on_account=True,
    counts_on_endpoint=True,
)


async def claim_one(store: PostgresLeaseStore) -> SyncJob:
    (job,) = await store.claim(ANY)
    return job


async def test_a_finished_run_sets_the_next_one_by_the_databases_clock(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    """Our clock stands in January 2026, whatever the server says."""
    await add_account(
        connection, sync_error_count=3, last_error="old", circuit_failures=1, crash_count=2
    )
    job = await claim_one(store)

    await store.finish(job, record(RunResult.DONE))

    row = await account_row(connection, job.key)
    assert 3_500 < row["wait_s"] <= 3_600
    assert datetime.now(UTC) - row["last_synced_at"] < timedelta(minutes=1)
    assert (row["sync_error_count"], row["last_error"], row["circuit_failures"]) == (0, None, 0)
    assert (row["crash_count"], row["lease_owner"]) == (0, None)
    (run,) = await connection.fetch("SELECT * FROM sync_runs")
    assert (run["result"], run["duration_ms"], run["created"]) == ("done", 3_000, 4)
    assert (run["instance_id"], run["queue"], run["fetched_bytes"]) == ("one", "normal", 2**40)
    assert await connection.fetch("SELECT FROM circuits") == []


async def test_a_sliced_run_is_due_at_once_and_not_yet_synced(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    await add_account(connection)
    job = await claim_one(store)

    await store.finish(job, record(RunResult.SLICED, timedelta()))

    again = await claim_one(store)
    assert (again.key, again.last_synced_at, again.crashes) == (job.key, None, 0)


async def test_a_run_whose_quota_is_spent_is_not_claimed_before_it_frees(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    """Nothing failed, so the account has no error; its runs tell what it waits for."""
    await add_account(connection, sync_error_count=1, last_error="old")
    job = await claim_one(store)

    await store.finish(
        job,
        record(RunResult.SLICED, timedelta(seconds=40), error="used up", error_class="QuotaSpent"),
    )

    row = await account_row(connection, job.key)
    (run,) = await connection.fetch("SELECT result, error, error_class FROM sync_runs")
    assert 30 < row["wait_s"] <= 40
    assert (row["last_synced_at"], row["last_error"], row["sync_error_count"]) == (None, None, 0)
    assert tuple(run) == ("sliced", "used up", "QuotaSpent")
    assert await store.claim(ANY) == []


async def test_what_runs_spent_of_a_quota_is_known_to_whoever_holds_the_account_next(
    store_of: Callable[[str], PostgresLeaseStore], database: Database, connection: Connection
) -> None:
    """For ten minutes, the longest window; a run that spent nothing leaves nothing."""
    mail = PostgresMailStore(database, KeyRing({"test": bytes(32)}), LiveSettings(Settings()))
    await add_account(connection)
    for units in (300, 0, 500):
        job = await claim_one(store_of("one"))
        await store_of("one").finish(
            job, replace(record(RunResult.SLICED, timedelta()), quota_units=units)
        )

    next_job = await claim_one(store_of("two"))
    use = (await mail.load_account(next_job)).quota_use
    assert [(run.epoch, run.units) for run in use.earlier] == [(1, 300), (3, 500)]
    assert all(0 <= run.seconds_ago < 60 for run in use.earlier)
    assert (use.epoch, use.is_partly_unknown, use.units) == (next_job.epoch, False, 0)

    await connection.execute(
        "UPDATE provider_configs SET quota_spent = jsonb_set(quota_spent, '{0,2}', to_jsonb("
        "extract(epoch FROM now()) - 601))"
    )
    await store_of("two").finish(next_job, record(RunResult.SLICED, timedelta()))
    use = (await mail.load_account(await claim_one(store_of("one")))).quota_use
    assert [(run.epoch, run.units) for run in use.earlier] == [(3, 500)]


async def test_a_vanished_holders_spending_is_known_to_be_unknown(
    store_of: Callable[[str], PostgresLeaseStore], database: Database, connection: Connection
) -> None:
    mail = PostgresMailStore(database, KeyRing({"test": bytes(32)}), LiveSettings(Settings()))
    await add_account(connection)
    await claim_one(store_of("one"))
    await connection.execute("UPDATE provider_configs SET lease_until = now() - interval '1 s'")

    account = await mail.load_account(await claim_one(store_of("two")))

    assert account.quota_use.is_partly_unknown


async def test_failures_open_the_circuits_of_the_account_and_of_its_endpoint(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    await add_account(connection)
    for _ in range(2):
        job = await claim_one(store)
        await store.finish(job, FAILED)
        await connection.execute("UPDATE provider_configs SET next_sync_at = now()")

    row = await account_row(connection, job.key)
    (endpoint,) = await connection.fetch("SELECT * FROM circuits")
    assert (row["circuit_state"], row["circuit_failures"], row["attempt"]) == ("OPEN", 2, 2)
    assert (row["sync_error_count"], row["last_error"]) == (2, "no route")
    assert (endpoint["state"], endpoint["failures"], endpoint["endpoint"]) == ("OPEN", 2, ENDPOINT)
    assert timedelta(seconds=50) < endpoint["retry_at"] - datetime.now(UTC)
    assert await store.claim(ANY) == []


async def test_an_open_endpoint_keeps_its_other_accounts_from_being_claimed(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    await add_account(connection)
    elsewhere = await add_account(connection, endpoint="other:993")
    await connection.execute(
        "INSERT INTO circuits (provider_type, endpoint, state, retry_at)"
        " VALUES ('imap', $1, 'OPEN', now() + interval '1 minute')",
        ENDPOINT,
    )

    jobs = await store.claim(ANY)

    assert [job.key for job in jobs] == [elsewhere]


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (RunResult.DONE, "CLOSED"),
        (RunResult.SLICED, "CLOSED"),
        (RunResult.THROTTLED, "CLOSED"),
        (RunResult.NEEDS_RECONNECT, "CLOSED"),
        (RunResult.DEFERRED, "HALF_OPEN"),
        (RunResult.CANCELLED, "HALF_OPEN"),
        (RunResult.MISCONFIGURED, "HALF_OPEN"),
    ],
)
async def test_whoever_got_an_answer_closes_the_endpoints_circuit(
    store: PostgresLeaseStore, connection: Connection, result: RunResult, state: str
) -> None:
    await add_account(connection)
    job = await claim_one(store)
    await connection.execute(
        "INSERT INTO circuits (provider_type, endpoint, state, failures, retry_at)"
        " VALUES ('imap', $1, 'HALF_OPEN', 5, now())",
        ENDPOINT,
    )

    await store.finish(job, record(result))

    assert await connection.fetchval("SELECT state FROM circuits") == state


@pytest.mark.parametrize(
    ("result", "before", "after"),
    [
        (RunResult.NEEDS_RECONNECT, "active", "needs_reconnect"),
        (RunResult.MISCONFIGURED, "active", "error"),
        (RunResult.FAILED, "active", "active"),
        (RunResult.NEEDS_RECONNECT, "paused", "paused"),
    ],
)
async def test_what_needs_a_person_parks_the_account(
    store: PostgresLeaseStore, connection: Connection, result: RunResult, before: str, after: str
) -> None:
    await add_account(connection)
    job = await claim_one(store)
    await connection.execute("UPDATE provider_configs SET status = $1", before)

    await store.finish(job, record(result, None, error="refused", error_class="AuthRefused"))

    row = await account_row(connection, job.key)
    assert (row["status"], row["last_error"], row["lease_owner"]) == (after, "refused", None)


async def test_a_finish_under_a_lost_lease_writes_nothing(
    store: PostgresLeaseStore, connection: Connection
) -> None:
    await add_account(connection)
    job = await claim_one(store)
    await connection.execute("UPDATE provider_configs SET lease_epoch = lease_epoch + 1")
    before = await account_row(connection, job.key)

    with pytest.raises(LeaseLost):
        await store.finish(job, FAILED)

    after = await account_row(connection, job.key)
    assert dict(after) | {"wait_s": 0} == dict(before) | {"wait_s": 0}
    assert await connection.fetch("SELECT FROM sync_runs") == []
    assert await connection.fetch("SELECT FROM circuits") == []


async def test_a_finish_is_stored_once(store: PostgresLeaseStore, connection: Connection) -> None:
    """The connection may be lost after COMMIT: who tries again learns that it stands."""
    await add_account(connection)
    job = await claim_one(store)
    await store.finish(job, record(RunResult.DONE))

    with pytest.raises(LeaseLost):
        await store.finish(job, record(RunResult.DONE))

    assert len(await connection.fetch("SELECT FROM sync_runs")) == 1
