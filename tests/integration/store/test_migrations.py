"""The schema is brought up to date once, in order, and never by a program that is too old."""

from pathlib import Path

import anyio
import asyncpg
import pytest

from emailsync.domain.errors import Misconfigured, StoreUnavailable
from emailsync.store.migrations import Migration, migrate, pending_migrations, read_migrations

FIRST = Migration(1, "first", "CREATE TABLE first (id int)")
SECOND = Migration(2, "second", "CREATE TABLE second (id int)")
BROKEN = Migration(2, "broken", "CREATE TABLE second (id int); SELECT nonsense")
RELEASED = {1: "32811a8552e8cf10e0662a85bf0fe8220b7a697e7334a7ba61e3f69ab49390cc"}
"""Version and checksum of what databases out there have: a release adds its own."""


async def tables(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    await connection.close()
    return {row["tablename"] for row in rows}


async def test_an_empty_database_gets_the_whole_schema_once(empty_database_url: str) -> None:
    before = await pending_migrations(empty_database_url)
    applied = await migrate(empty_database_url)
    again = await migrate(empty_database_url)

    assert before == applied == read_migrations()
    assert again == await pending_migrations(empty_database_url) == []
    assert {"tenants", "messages", "schema_migrations"} <= await tables(empty_database_url)


async def test_only_what_is_new_is_applied(empty_database_url: str) -> None:
    await migrate(empty_database_url, [FIRST])

    assert await migrate(empty_database_url, [FIRST, SECOND]) == [SECOND]


async def test_several_daemons_that_start_together_migrate_once(empty_database_url: str) -> None:
    applied: list[Migration] = []

    async def start() -> None:
        applied.extend(await migrate(empty_database_url, [FIRST, SECOND]))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(start)

    assert applied == [FIRST, SECOND]


async def test_a_migration_that_fails_leaves_nothing_behind(empty_database_url: str) -> None:
    with pytest.raises(asyncpg.UndefinedColumnError):
        await migrate(empty_database_url, [FIRST, BROKEN])

    assert await tables(empty_database_url) == {"schema_migrations", "first"}
    assert await migrate(empty_database_url, [FIRST, SECOND]) == [SECOND]


async def test_a_database_of_a_newer_program_is_refused(empty_database_url: str) -> None:
    await migrate(empty_database_url, [FIRST, SECOND])

    with pytest.raises(Misconfigured, match="newer than this program"):
        await migrate(empty_database_url, [FIRST])


async def test_a_migration_that_was_altered_later_is_refused(empty_database_url: str) -> None:
    await migrate(empty_database_url, [FIRST])

    with pytest.raises(Misconfigured, match="altered"):
        await migrate(empty_database_url, [Migration(1, "first", "CREATE TABLE other ()")])


def test_a_migration_that_was_released_is_never_altered() -> None:
    """Whoever has it in the database could not upgrade."""
    known = {migration.version: migration.checksum for migration in read_migrations()}

    assert known | RELEASED == known


async def test_a_server_that_is_not_there_is_named_as_such(unused_tcp_port: int) -> None:
    with pytest.raises(StoreUnavailable, match="not available"):
        await migrate(f"postgresql://nobody@127.0.0.1:{unused_tcp_port}/none")


async def test_a_url_that_is_none_is_a_matter_of_settings() -> None:
    with pytest.raises(Misconfigured, match=r"database\.url"):
        await migrate("mysql://localhost/x")


@pytest.mark.parametrize("names", [["0002_b.sql"], ["0001_a.sql", "0003_c.sql"], ["1_a.sql"]])
def test_migrations_are_numbered_without_gaps(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")

    with pytest.raises(ValueError, match="migration"):
        read_migrations(tmp_path)


async def test_mail_is_not_compressed_by_pglz(database_url: str) -> None:
    """Pglz makes storing four times slower (default of every column that is not told otherwise)."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "SELECT attname, attcompression = 'l' OR attstorage = 'e' AS is_fast FROM pg_attribute"
        " WHERE attrelid = 'messages'::regclass"
        " AND attname = ANY ('{raw,body_text,body_html,headers}')"
    )
    await connection.close()

    assert len(rows) == 4
    assert all(row["is_fast"] for row in rows)
