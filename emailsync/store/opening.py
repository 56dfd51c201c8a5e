"""From the settings to a database that can be used: the embedded server or the operator's own.

Both daemon and commands come in here, so both treat a schema that is too old in the same way.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

from emailsync.config import Settings
from emailsync.crypto import Secret, SecretFileError
from emailsync.domain.errors import Misconfigured
from emailsync.secret_files import open_database_password
from emailsync.store.database import Database, open_database
from emailsync.store.embedded import embedded_postgres
from emailsync.store.migrations import migrate, pending_migrations


@asynccontextmanager
async def database_server(settings: Settings, *, attach: bool) -> AsyncIterator[str]:
    """Yield the URL of the server; the embedded one runs while the context lasts.

    Args:
        settings: say which server.
        attach: use the embedded server of a daemon that runs already, instead of refusing.

    Raises:
        Misconfigured: the password file cannot be used; and see `embedded_postgres`.
        StoreUnavailable: see `embedded_postgres`.
    """
    if settings.database.url != "embedded":
        try:
            password = open_database_password(settings)
        except SecretFileError as error:
            raise Misconfigured(str(error)) from error
        yield _with_password(settings.database.url, password)
        return
    async with embedded_postgres(settings.state_dir, attach=attach) as url:
        yield url


@asynccontextmanager
async def opened_database(url: str, settings: Settings) -> AsyncIterator[Database]:
    """Yield the pool on an up-to-date schema.

    Raises:
        Misconfigured: the schema is newer than the program, or older and not ours to migrate.
        StoreUnavailable: the server failed.
    """
    if settings.database.auto_migrate:
        await migrate(url)
    elif pending := await pending_migrations(url):
        raise Misconfigured(
            f"the schema lacks {len(pending)} migrations and database.auto_migrate is false: "
            "run `emailsyncd migrate`"
        )
    async with open_database(url, pool_max=settings.database.pool_max) as database:
        yield database


def _with_password(url: str, password: Secret | None) -> str:
    """Add the password as a parameter: it may go with a user, without one, and with many hosts."""
    if password is None:
        return url
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}password={quote(password.reveal(), safe='')}"
