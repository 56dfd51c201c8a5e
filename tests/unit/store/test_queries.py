"""Named blocks of SQL, each with its purpose."""

from pathlib import Path

import pytest

from emailsync.store.queries import load_queries, sql_folder

FILES = sorted(path.stem for path in (sql_folder() / "queries").glob("*.sql"))

PARTS = "situations"  #: what statements of other files put in


@pytest.mark.parametrize("file", FILES)
def test_every_statement_has_a_name_and_a_purpose(file: str) -> None:
    queries = load_queries(*{file, PARTS})

    assert queries
    assert all(statement.startswith("-- ") for statement in queries.values())


def test_files_that_are_loaded_together_share_no_name() -> None:
    with pytest.raises(ValueError, match="twice"):
        load_queries("leases", "leases")


def test_a_block_without_a_purpose_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "bad.sql").write_text("-- name: aimless\nSELECT 1\n")
    monkeypatch.setattr("emailsync.store.queries.sql_folder", lambda: tmp_path)

    with pytest.raises(ValueError, match="purpose"):
        load_queries("bad")
