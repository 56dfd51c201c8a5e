"""Removes what the retention settings say is old, in batches that hold nobody up."""

from typing import Final

from emailsync.config import LiveSettings
from emailsync.store.database import Database
from emailsync.store.queries import load_queries

SQL: Final = load_queries("housekeeping")
BATCH_ROWS: Final = 1_000  #: a transaction of so many deletions takes some 10 ms
MAX_BATCHES: Final = 100  #: a call; the next one goes on
INSTANCE_DAYS: Final = 1


class Housekeeping:
    """Called now and then by any daemon; several at once do no harm."""

    def __init__(self, database: Database, settings: LiveSettings) -> None:
        self._database = database
        self._settings = settings

    async def run(self) -> int:
        """Remove old rows; return how many. Raises StoreUnavailable."""
        retention = self._settings.current.store.retention
        days = {
            "old_runs": retention.runs_days,
            "old_changes": retention.changes_days,
            "deleted_messages": retention.deleted_days,
            "dead_instances": INSTANCE_DAYS,
        }
        return sum([await self._remove(name, limit) for name, limit in days.items()])

    async def _remove(self, name: str, days: int) -> int:
        removed = 0
        for _ in range(MAX_BATCHES):
            async with self._database.connection() as connection:
                status = await connection.execute(SQL[name], days, BATCH_ROWS)
            batch = int(status.rpartition(" ")[2])
            removed += batch
            if batch < BATCH_ROWS:
                break
        return removed
