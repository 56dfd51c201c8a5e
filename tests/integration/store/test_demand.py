"""What `check` holds the limits against."""

import asyncpg

from emailsync.store.database import Database
from emailsync.store.overview import Overview
from store_rig import add_account

RUN = """
INSERT INTO sync_runs (tenant_id, provider_id, queue, instance_id, attempt, result, started_at,
    duration_ms, created, updated, deleted, quarantined, unexplained, fetched_bytes)
SELECT 'acme', $1, 'low', 'one', 1, $2, now(), $3, 0, 0, 0, 0, 0, 0
"""


async def test_only_runs_that_ended_well_tell_how_long_a_sync_takes(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """An account with wrong settings fails within milliseconds, and made any limit look ample."""
    account = await add_account(connection)
    await connection.execute(RUN, account.account_id, "misconfigured", 15)
    with_failures_only = await Overview(database).demand()

    await connection.execute(RUN, account.account_id, "done", 1_000)
    await connection.execute(RUN, account.account_id, "done", 3_000)

    assert with_failures_only.mean_duration_s is None
    assert (await Overview(database).demand()).mean_duration_s == 2.0
