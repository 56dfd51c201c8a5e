"""Keeps the planner's idea of the mail tables within a factor of the truth while they fill.

Autovacuum looks once a minute; a first sync fills an empty database in seconds. The plans made for
empty tables, those of the foreign keys among them, are a hundred times too slow by then.
"""

from contextlib import suppress
from typing import Final

from emailsync.domain.errors import StoreUnavailable
from emailsync.store.database import Database
from emailsync.store.queries import load_queries

SQL: Final = load_queries("statistics")
FIRST_LOOK: Final = 100  #: messages; below, no plan is slow
GROWTH: Final = 4  #: a plan serves until there are so many times the messages that it was made for


class PlannerStatistics:
    """Counts what this process stores and has the tables analysed when that outgrows them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stored = 0
        self._next_look = FIRST_LOOK

    async def add(self, stored: int) -> None:
        """Note that so many messages more are stored. It never fails: a slow plan is no failure."""
        self._stored += stored
        if self._stored < self._next_look:
            return
        self._next_look = self._stored * GROWTH
        with suppress(StoreUnavailable):
            async with self._database.connection() as connection:
                if await connection.fetchval(SQL["is_outdated"], self._stored):
                    await connection.execute(SQL["analyze"])
