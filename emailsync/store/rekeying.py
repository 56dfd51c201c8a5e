"""Re-encrypts stored credentials under the newest key, so that an old key can be thrown away.

Resumable without a bookmark: what is under the newest key already is passed over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from asyncpg import Record

from emailsync.crypto import DecryptionFailed, KeyRing, key_id_of
from emailsync.domain.accounts import AccountId, AccountKey, TenantId
from emailsync.store.database import Connection, Database
from emailsync.store.mail import CREDENTIALS
from emailsync.store.queries import load_queries

SQL: Final = load_queries("accounts")
BATCH: Final = 100


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
    after: tuple[str, UUID] = ("", UUID(int=0))
    while True:
        async with database.connection() as connection:
            rows = await connection.fetch(SQL["sealed"], *after, BATCH)
            for row in rows:
                key = AccountKey(TenantId(row["tenant_id"]), AccountId(row["id"]))
                try:
                    if key_id_of(row["credentials"]) == keys.newest:
                        current += 1
                    else:
                        await _reseal(connection, keys, key, row)
                        changed += 1
                except DecryptionFailed:
                    unreadable.append(key)
        if len(rows) < BATCH:
            return Rekeyed(changed, current, unreadable)
        after = (rows[-1]["tenant_id"], rows[-1]["id"])


async def _reseal(connection: Connection, keys: KeyRing, key: AccountKey, row: Record) -> None:
    clear = keys.decrypt(row["credentials"], key, CREDENTIALS)
    sealed = keys.encrypt(clear, key, CREDENTIALS)
    await connection.execute(SQL["reseal"], *row, sealed)
