"""The `MailStore` on Postgres: one page, one transaction, under the lease.

Decides what a refused page means; what a page writes is page_writer.py's.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import orjson

from emailsync.config import LiveSettings
from emailsync.crypto import KeyRing
from emailsync.domain.accounts import Lease, ProviderType
from emailsync.domain.errors import LeaseLost
from emailsync.domain.folders import AccountCursor
from emailsync.domain.jobs import SyncJob
from emailsync.domain.pages import PageResult, ReadyPage
from emailsync.domain.quota_use import QuotaUse, Spending
from emailsync.loop_rounds import Rounds
from emailsync.ports import Account, Turn
from emailsync.store.database import Connection, Database, is_data_error
from emailsync.store.page_writer import PageWriter, is_all_new
from emailsync.store.queries import load_queries
from emailsync.store.sealing import open_credentials
from emailsync.store.statistics import PlannerStatistics
from emailsync.store.stored_mail import PostgresStoredMail, hold_lease

SQL: Final = load_queries("folders")


class _Overtaken(Exception):
    """What a page inserted before its turn has rows in the tables already, by the pages before."""


class PostgresMailStore:
    """Writes what sessions yield. Any number of tasks may use it, each for its own account."""

    def __init__(self, database: Database, keys: KeyRing, settings: LiveSettings) -> None:
        self._database = database
        self._keys = keys
        self._settings = settings
        self._statistics = PlannerStatistics(database)
        self._rounds = Rounds()
        self._ahead = 0  #: pages that hold a connection and may have to wait for their turn

    async def load_account(self, job: SyncJob) -> Account:
        """Return the account with its credentials decrypted.

        Raises:
            LeaseLost: the account is gone or claimed by somebody else.
            OperatorMustAct, Misconfigured: the credentials cannot be decrypted, see sealing.py.
        """
        key = job.key
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                SQL["account"], key.tenant_id, key.account_id, job.epoch
            )
        if row is None:
            raise LeaseLost("the account was claimed by somebody else, changed or removed")
        return Account(
            key=key,
            provider_type=ProviderType(row["provider_type"]),
            email_address=row["email_address"],
            settings=orjson.loads(row["settings"]),
            credentials=open_credentials(self._keys, key, row["credentials"]),
            careful=job.crashes > 0,
            has_detached=row["has_detached"],
            has_comparison_due=row["has_comparison_due"],
            cursor=AccountCursor(
                last_sync_uid=row["last_sync_uid"],
                last_history_id=row["last_history_id"],
                last_delta_link=row["last_delta_link"],
                resume_token=row["resume_token"],
            ),
            quota_use=QuotaUse(
                epoch=job.epoch,
                earlier=_spendings(row["quota_spent"], now_s=row["now_s"]),
                is_partly_unknown=job.crashes > 0,
            ),
        )

    def stored_mail(self, lease: Lease) -> PostgresStoredMail:
        """Return the view that the session of this lease reads."""
        return PostgresStoredMail(self._database, lease, self._settings)

    async def apply(self, lease: Lease, page: ReadyPage, turn: Turn | None = None) -> PageResult:
        """Write the page in one transaction; a poisonous message is quarantined, alone.

        The usual page brings new mail and nothing else: its messages are inserted before its turn
        has come, beside the page before. A page that turns out to be another, if not before its
        turn, is written step by step; one that Postgres refuses once more, carefully: the usual
        page need not pay for the rare one.

        Raises:
            LeaseLost: the epoch moved on; nothing was written.
            StoreUnavailable: nothing was written, or the whole page just before the failure.
        """
        try:
            try:
                result = await self._apply(lease, page, turn, goes_ahead=is_all_new(page))
            except _Overtaken:
                result = await self._apply(lease, page, turn, goes_ahead=False)
        except Exception as error:
            if not (page.messages and is_data_error(error)):
                raise
            await _come(turn)
            result = await self._apply_carefully(lease, page)
        await self._statistics.add(result.created)
        return result

    async def _apply(
        self, lease: Lease, page: ReadyPage, turn: Turn | None, *, goes_ahead: bool
    ) -> PageResult:
        async def work(connection: Connection) -> PageResult:
            writer = self._writer(connection, lease, careful=False)
            done = goes_ahead and await writer.insert_new(page)
            await _come(turn)
            await hold_lease(connection, lease, lease_s=self._lease_s)
            if done and await writer.is_overtaken(page):
                raise _Overtaken
            return await (writer.finish_new(page) if done else writer.write(page))

        if not goes_ahead:
            await _come(turn)
        async with self._connection_to_wait_with(turn):
            return await self._database.transact(work)

    @asynccontextmanager
    async def _connection_to_wait_with(self, turn: Turn | None) -> AsyncIterator[None]:
        """Let few pages of the daemon hold a connection before their turn; the others wait here.

        Were there no limit, they could hold all of them, and those whose turn it is none.
        """
        if turn is None or turn.has_come or self._ahead >= self._database.spare:
            await _come(turn)
            yield
            return
        self._ahead += 1
        try:
            yield
        finally:
            self._ahead -= 1

    async def _apply_carefully(self, lease: Lease, page: ReadyPage) -> PageResult:
        async def work(connection: Connection) -> PageResult:
            await hold_lease(connection, lease, lease_s=self._lease_s)
            return await self._writer(connection, lease, careful=True).write(page)

        return await self._database.transact(work)

    def _writer(self, connection: Connection, lease: Lease, *, careful: bool) -> PageWriter:
        keep_raw = self._settings.current.store.raw
        return PageWriter(
            connection, lease.key, keep_raw=keep_raw, careful=careful, rounds=self._rounds
        )

    @property
    def _lease_s(self) -> int:
        return self._settings.current.cluster.lease_s


def _spendings(stored: str, *, now_s: float) -> list[Spending]:
    return [Spending(epoch, units, now_s - at_s) for epoch, units, at_s in orjson.loads(stored)]


async def _come(turn: Turn | None) -> None:
    if turn is not None:
        await turn.wait()
