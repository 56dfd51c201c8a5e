"""Removes what was kept long enough: runs, changes, deleted messages, daemons that are gone."""

from datetime import datetime, timedelta
from typing import Final

from emailsync.config import RetentionSettings
from emailsync.store.database import Database
from emailsync.store.queries import load_queries

SQL: Final = load_queries("retention")
ROWS_AT_ONCE: Final = 1_000


async def remove_old_rows(database: Database, keep: RetentionSettings, *, now: datetime) -> int:
    """Remove everything older than the settings allow; return how many rows that were.

    Raises:
        StoreUnavailable: what was removed before stays removed.
    """
    days = {
        "remove_runs": keep.runs_days,
        "remove_changes": keep.changes_days,
        "remove_deleted": keep.deleted_days,
        "remove_instances": keep.runs_days,  # their names stand in the runs
        "remove_connect_flows": 0,
    }
    removed = 0
    for statement, kept_days in days.items():
        removed += await _remove(database, SQL[statement], now - timedelta(days=kept_days))
    return removed


async def _remove(database: Database, statement: str, before: datetime) -> int:
    removed, rows = 0, ROWS_AT_ONCE
    while rows == ROWS_AT_ONCE:
        async with database.connection() as connection:
            tag = await connection.execute(statement, before, ROWS_AT_ONCE)
        rows = int(tag.rpartition(" ")[2])
        removed += rows
    return removed
