"""What every command on accounts opens first: the keys and the database that the settings name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from emailsync.config import Settings
from emailsync.crypto import KeyRing
from emailsync.secret_files import open_key_ring
from emailsync.store.accounts import AccountStore
from emailsync.store.database import Database
from emailsync.store.opening import database_server, opened_database


@dataclass(frozen=True, slots=True)
class Installation:
    """An opened installation; a daemon may be at work on it."""

    keys: KeyRing
    database: Database
    accounts: AccountStore


@asynccontextmanager
async def opened_installation(settings: Settings) -> AsyncIterator[Installation]:
    """Open what the settings name; an embedded server that runs already is shared.

    Raises:
        SecretFileError, Misconfigured, StoreUnavailable: what cannot be used.
    """
    keys = open_key_ring(settings)
    async with (
        database_server(settings, attach=True) as url,
        opened_database(url, settings) as database,
    ):
        yield Installation(keys, database, AccountStore(database, keys))
