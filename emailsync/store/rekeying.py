"""Goes over all stored credentials: which of them no key opens, and all anew under the newest key.

After the latter an old key can be thrown away. It is resumable without a bookmark: what is under
the newest key already is passed over.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from emailsync.crypto import DecryptionFailed, KeyRing, key_id_of
from emailsync.domain.accounts import AccountId, AccountKey, TenantId
from emailsync.store.database import Connection, Database
from emailsync.store.queries import load_queries
from emailsync.store.sealing import COLUMN, seal_anew

SQL: Final = load_queries("credentials")
BATCH: Final = 100
BEFORE_ALL: Final = ("", UUID(int=0))  #: no account comes before


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """What was found."""

    changed: int
    current: int  #: under the newest key already
    unreadable: Sequence[AccountKey]  #: no key at hand opens these; they are left as they are


async def rekey(database: Database, keys: KeyRing) -> Rekeyed:
    """Go over all credentials. Raises StoreUnavailable; what was done before stays done."""
    changed = current = 0
    unreadable: list[AccountKey] = []
    async for batch in _all_sealed(database):
        async with database.connection() as connection:
            for key, sealed in batch:
                try:
                    if await _seal_anew(connection, keys, key, sealed):
                        changed += 1
                    else:
                        current += 1
                except DecryptionFailed:
                    unreadable.append(key)
    return Rekeyed(changed, current, unreadable)


async def unopened(database: Database, keys: KeyRing) -> Mapping[str, int]:
    """Return why credentials cannot be opened, and those of how many accounts.

    Raises:
        StoreUnavailable: the database is away.
    """
    problems: Counter[str] = Counter()
    async for batch in _all_sealed(database):
        for key, sealed in batch:
            try:
                keys.decrypt(sealed, key, COLUMN)
            except DecryptionFailed as error:
                problems[str(error)] += 1
    return problems


async def _all_sealed(database: Database) -> AsyncIterator[Sequence[tuple[AccountKey, bytes]]]:
    """Yield the credentials of all accounts, some at a time."""
    after = BEFORE_ALL
    while True:
        async with database.connection() as connection:
            rows = await connection.fetch(SQL["sealed"], *after, BATCH)
        yield [
            (AccountKey(TenantId(row["tenant_id"]), AccountId(row["id"])), row["credentials"])
            for row in rows
        ]
        if len(rows) < BATCH:
            return
        after = (rows[-1]["tenant_id"], rows[-1]["id"])


async def _seal_anew(
    connection: Connection, keys: KeyRing, key: AccountKey, sealed: bytes | None
) -> bool:
    """Return whether there was a need; what a daemon renews meanwhile is sealed anew as well."""
    while sealed is not None and key_id_of(sealed) != keys.newest:
        values = key.tenant_id, key.account_id, sealed, seal_anew(keys, key, sealed)
        if await connection.fetchval(SQL["seal_anew"], *values):
            return True
        sealed = await connection.fetchval(SQL["sealed_of"], key.tenant_id, key.account_id)
    return False
