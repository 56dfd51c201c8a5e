"""The `CredentialVault` on Postgres: one renewal of an account's credentials at a time.

Two things guard it. A claim in the account's row, by the database's clock, lets one task of all
daemons call the provider, with no transaction open meanwhile. The version of the credentials lets
only those be replaced that the new ones were made from, should a claim have run out unnoticed.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

import anyio
from asyncpg import Record

from emailsync.crypto import KeyRing, Secret
from emailsync.domain.accounts import AccountKey
from emailsync.domain.errors import AuthRefused, LeaseLost, Retryable, StoreUnavailable
from emailsync.store.database import Connection, Database
from emailsync.store.queries import load_queries
from emailsync.store.sealing import open_credentials, seal_credentials

SQL: Final = load_queries("credentials")

CLAIM_S: Final = 30.0  #: how long a renewal whose process died holds the others up
RENEWAL_S: Final = 20.0
"""For the provider's answer. The rest of the claim is for storing what it may have rotated."""
FIRST_LOOK_S: Final = 0.05  #: between two looks whether another daemon is done; doubled each time
LONGEST_LOOK_S: Final = 1.0
STORE_AGAIN_S: Final = 0.5  #: after the database failed to store what only we know

Credentials: TypeAlias = Mapping[str, Secret]
Renewal: TypeAlias = Callable[[Credentials], Awaitable[Credentials | None]]


@dataclass(frozen=True, slots=True)
class _Claim:
    """The right to renew."""

    until: datetime  #: by the database's clock; no two claims of an account have the same
    sealed: bytes | None
    version: int


class PostgresCredentialVault:
    """Any number of tasks and daemons may renew; a task waits for the one before it here."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys
        self._turns: WeakValueDictionary[AccountKey, anyio.Lock] = WeakValueDictionary()

    async def renew(self, key: AccountKey, renewal: Renewal) -> Credentials:
        """Let `renewal` replace the credentials while nobody else does; return what is stored.

        A renewal under way is not cancelled, for at most `CLAIM_S`: the provider may have replaced
        the token already, and what it answers has to be kept.

        Raises:
            LeaseLost: the account is gone.
            OperatorMustAct, Misconfigured: the credentials cannot be decrypted, see sealing.py.
            Retryable: the renewal took longer than `RENEWAL_S`.
            StoreUnavailable: the new credentials could not be stored, and must not be used.
        """
        turn = self._turns.setdefault(key, anyio.Lock())
        async with turn:
            while True:
                claim = await self._claim(key)
                with anyio.move_on_after(CLAIM_S, shield=True) as patience:
                    credentials = await self._renew_under(claim, key, renewal)
                if patience.cancelled_caught:
                    raise StoreUnavailable("the renewed credentials could not be stored in time")
                if credentials is not None:
                    return credentials

    async def _claim(self, key: AccountKey) -> _Claim:
        pause_s = FIRST_LOOK_S
        while row := await self._row("claim_renewal", key, CLAIM_S):
            if row["until"] is not None:
                return _Claim(**row)
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_LOOK_S)
        raise LeaseLost("the account was removed")

    async def _renew_under(
        self, claim: _Claim, key: AccountKey, renewal: Renewal
    ) -> Credentials | None:
        """Return credentials that are stored; None: others replaced those that we set out from."""
        try:
            stored = open_credentials(self._keys, key, claim.sealed)
            try:
                renewed = await _in_time(renewal, stored)
            except AuthRefused:
                if await self._is_current(claim, key):
                    raise
                return None
            if renewed is None:
                return stored
            return renewed if await self._save(claim, key, renewed) else None
        finally:
            with suppress(StoreUnavailable):  # then it runs out
                await self._row("end_renewal", key, claim.until)

    async def _save(self, claim: _Claim, key: AccountKey, renewed: Credentials) -> bool:
        """Store as long as the claim lasts: the provider may have forgotten the old ones."""
        sealed = seal_credentials(self._keys, key, renewed)
        while True:
            try:
                return await self._row("save_renewed", key, claim.version, sealed) is not None
            except StoreUnavailable:
                await anyio.sleep(STORE_AGAIN_S)

    async def _is_current(self, claim: _Claim, key: AccountKey) -> bool:
        row = await self._row("credentials_version", key)
        return row is not None and row["credentials_version"] == claim.version

    async def _row(self, name: str, key: AccountKey, *values: Any) -> Record | None:
        async def work(connection: Connection) -> Record | None:
            return await connection.fetchrow(SQL[name], key.tenant_id, key.account_id, *values)

        return await self._database.persist(work)


async def _in_time(renewal: Renewal, stored: Credentials) -> Credentials | None:
    with anyio.move_on_after(RENEWAL_S):
        return await renewal(stored)
    raise Retryable("the provider did not renew the credentials in time")
