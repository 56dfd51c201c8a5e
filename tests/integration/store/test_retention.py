"""Old rows go, young ones stay, and a message takes its attachments along."""

from datetime import UTC, datetime, timedelta

import asyncpg

from emailsync.config import RetentionSettings
from emailsync.store.database import open_database
from emailsync.store.retention import remove_old_rows

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEEP = RetentionSettings(runs_days=10, changes_days=20, deleted_days=30)

FILL = """
INSERT INTO tenants (id) VALUES ('acme');
INSERT INTO provider_configs (tenant_id, provider_type, email_address, endpoint)
VALUES ('acme', 'imap', 'a@example.test', 'mail.example.test:993');
"""
RUNS = """
INSERT INTO sync_runs (tenant_id, provider_id, queue, instance_id, attempt, result, started_at,
    duration_ms, created, updated, deleted, quarantined, unexplained, fetched_bytes)
SELECT 'acme', id, 'low', 'i', 1, 'done', $1::timestamptz - make_interval(days => age),
    1, 0, 0, 0, 0, 0, 0
FROM provider_configs, generate_series(1, 2500) AS age
"""
MESSAGES = """
INSERT INTO messages (tenant_id, provider_id, remote_id, size_bytes, deleted_at)
SELECT 'acme', id, coalesce(age::text, 'live'), 1, $1::timestamptz - make_interval(days => age)
FROM provider_configs, unnest(ARRAY[29, 31, NULL]) AS age
"""
INSTANCES = """
INSERT INTO instances (id, version, seen_at)
SELECT 'host:' || age, '1', $1::timestamptz - make_interval(days => age)
FROM unnest(ARRAY[9, 11]) AS age
"""


async def test_daemons_that_are_gone_are_forgotten_with_their_runs(database_url: str) -> None:
    """Without a name in the settings each start is a daemon of its own."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(INSTANCES, NOW)

    async with open_database(database_url, pool_max=2) as database:
        removed = await remove_old_rows(database, KEEP, now=NOW)

    left = await connection.fetch("SELECT id FROM instances")
    await connection.close()
    assert removed == 1
    assert [row["id"] for row in left] == ["host:9"]


async def test_rows_older_than_the_settings_are_removed_in_portions(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(FILL)
    await connection.execute(RUNS, NOW)
    await connection.execute(MESSAGES, NOW)

    async with open_database(database_url, pool_max=2) as database:
        removed = await remove_old_rows(database, KEEP, now=NOW + timedelta(hours=1))
        again = await remove_old_rows(database, KEEP, now=NOW + timedelta(hours=1))

    runs = await connection.fetchval("SELECT count(*) FROM sync_runs")
    messages = await connection.fetch("SELECT remote_id FROM messages ORDER BY remote_id")
    await connection.close()
    assert (removed, again) == (2_491 + 1, 0)
    assert runs == 9
    assert [row["remote_id"] for row in messages] == ["29", "live"]
