"""One run of one job, from the lease to the last page. Read this first.

It raises the `SyncError` that the worker decides about; it never decides itself, never retries
and never waits.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import anyio

from emailsync.domain.accounts import ProviderType
from emailsync.domain.errors import Misconfigured, Unreachable
from emailsync.domain.folders import FolderId
from emailsync.domain.jobs import SyncJob
from emailsync.ports import MailSession, MailStore, SessionOpener, StoredMail
from emailsync.sync.pipeline import PageParser, Pipeline
from emailsync.sync.progress import Progress

RUN_DEADLINE: Final = timedelta(minutes=15)
"""A run is cut after a page once its quantum of 20 s is over; this ends one whose server answers
every command in time, but so slowly that no page comes: it would hold a worker for days."""


class RunJob:
    """Brings one account one quantum closer to its mailbox."""

    def __init__(
        self,
        store: MailStore,
        openers: Mapping[ProviderType, SessionOpener],
        parser: PageParser,
        deadline: timedelta = RUN_DEADLINE,
    ) -> None:
        self._store = store
        self._openers = openers
        self._parser = parser
        self._deadline_s = deadline.total_seconds()

    async def __call__(self, job: SyncJob, progress: Progress) -> bool:
        """Sync until the account is up to date or the quantum is over; return if there is more.

        Raises:
            SyncError: what stopped it; every page applied before stays.
        """
        more = False
        with anyio.move_on_after(self._deadline_s) as scope:
            more = await self._run(job, progress)
        if scope.cancelled_caught:
            raise Unreachable(f"{job.endpoint} is too slow: not done in {self._deadline_s:g} s")
        return more

    async def _run(self, job: SyncJob, progress: Progress) -> bool:
        opener = self._openers.get(job.provider_type)
        if opener is None:
            raise Misconfigured(f"this daemon has no provider for {job.provider_type} accounts")
        account = await self._store.load_account(job)
        progress.quota_use = account.quota_use
        pipeline = Pipeline(self._store, self._parser, job.lease, progress, careful=account.careful)
        stored = self._store.stored_mail(job.lease)
        async with opener.open(account, stored) as session:
            more = await pipeline.run(session.pages())
            if not more:
                is_due = account.has_comparison_due or bool(pipeline.mismatched)
                more = is_due and await self._compare(session, stored, pipeline, progress)
                progress.count_unexplained(len(pipeline.mismatched))
        return more

    async def _compare(
        self, session: MailSession, stored: StoredMail, pipeline: Pipeline, progress: Progress
    ) -> bool:
        """Compare folders in full, those for which it is time; return whether there is more to do.

        Each run comes to one at least, and takes no longer than any other: new mail goes first.
        """
        compared: set[FolderId] = set()
        while (folder := await stored.comparison_due(but=compared)) is not None:
            if compared and progress.quantum_is_over():
                return True
            compared.add(folder)
            if await pipeline.run(session.reconcile(folder)):
                return True
        return False
