"""The schema's version: applies sql/migrations in order, once each; refuses what it does not know.

A migration never changes after its release: the database remembers its checksum.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from emailsync.domain.errors import Misconfigured
from emailsync.store.database import CONNECT_TIMEOUT_S, as_unavailable
from emailsync.store.queries import load_queries, sql_folder

SQL: Final = load_queries("migrations")
FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of sql/migrations."""

    version: int
    name: str
    statements: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, hexadecimal."""
        return hashlib.sha256(self.statements.encode()).hexdigest()


def read_migrations(folder: Path | None = None) -> Sequence[Migration]:
    """Return the migrations of this program in order.

    Raises:
        ValueError: a file's name is not NNNN_what.sql, or the numbers have a gap.
    """
    migrations = []
    for path in sorted((folder or sql_folder() / "migrations").glob("*.sql")):
        if not (match := FILE_NAME.fullmatch(path.name)):
            raise ValueError(f"{path.name}: a migration is called NNNN_what.sql")
        migrations.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    if [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise ValueError("the migrations are not numbered 0001, 0002, ...")
    return migrations


async def migrate(url: str, migrations: Sequence[Migration] | None = None) -> Sequence[Migration]:
    """Bring the schema up to date, each migration in a transaction; return what was applied.

    Raises:
        Misconfigured: the database is newer than the program, or a migration was altered.
        StoreUnavailable: the server failed; what was committed before stays.
    """
    known = read_migrations() if migrations is None else migrations
    async with _connection(url) as connection:
        await connection.execute(SQL["lock"])
        await connection.execute(SQL["create_ledger"])
        pending = _pending(known, await connection.fetch(SQL["applied"]))
        for migration in pending:
            async with connection.transaction():
                await connection.execute(migration.statements)
                await connection.execute(
                    SQL["record"], migration.version, migration.name, migration.checksum
                )
    return pending


async def pending_migrations(url: str) -> Sequence[Migration]:
    """Return what `migrate` would apply, changing nothing. Raises as `migrate` does."""
    async with _connection(url) as connection:
        has_ledger = await connection.fetchval(SQL["has_ledger"])
        applied = await connection.fetch(SQL["applied"]) if has_ledger else []
    return _pending(read_migrations(), applied)


def _pending(known: Sequence[Migration], applied: Sequence[asyncpg.Record]) -> Sequence[Migration]:
    for row in applied[len(known) :]:
        raise Misconfigured(
            f"the database is newer than this program: it has migration {row['version']} "
            f"({row['name']}), the program knows {len(known)}; upgrade the program"
        )
    for migration, row in zip(known, applied, strict=False):
        if (migration.version, migration.checksum) != (row["version"], row["checksum"]):
            raise Misconfigured(
                f"migration {row['version']} ({row['name']}) is not the one that the database "
                "has: somebody altered it after it was applied"
            )
    return known[len(applied) :]


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect outside the pool: a migration may take longer than the pool's patience."""
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
        try:
            yield connection
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_S)
    except asyncpg.ClientConfigurationError as error:
        raise Misconfigured(f"database.url: {error}") from error
    except Exception as error:
        if unavailable := as_unavailable(error):
            raise unavailable from error
        raise
