"""From the settings to a server: whose password may come from a file."""

from pathlib import Path

import pytest

from emailsync.config import Settings
from emailsync.domain.errors import Misconfigured
from emailsync.store.database import open_database
from emailsync.store.opening import database_server


def settings_of(url: str, password_file: Path) -> Settings:
    return Settings.model_validate({"database": {"url": url, "password_file": password_file}})


async def test_a_password_from_a_file_opens_the_database(database_url: str, tmp_path: Path) -> None:
    """The test's server asks nobody for a password, so what arrives in the URL is looked at."""
    password_file = tmp_path / "password"
    password_file.touch(mode=0o600)
    password_file.write_text("p&s=s#w/rd%\n")

    async with (
        database_server(settings_of(database_url, password_file), attach=False) as url,
        open_database(url, pool_max=2) as database,
    ):
        is_ready = await database.is_ready()

    assert url == f"{database_url}?password=p%26s%3Ds%23w%2Frd%25"
    assert is_ready


async def test_a_password_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("secret\n")
    password_file.chmod(0o644)
    settings = settings_of("postgresql://h/db", password_file)

    with pytest.raises(Misconfigured, match=r"database\.password_file: .* is open to others"):
        async with database_server(settings, attach=False):
            pass
