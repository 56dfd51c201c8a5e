"""One run of one job, with a server that is at fault."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest

from clock import SettableClock
from emailsync.domain.accounts import ProviderType
from emailsync.domain.errors import Unreachable
from emailsync.domain.jobs import SyncJob
from emailsync.domain.pages import FetchedPage
from emailsync.ports import Account
from emailsync.sync.progress import Progress
from emailsync.sync.run_job import RunJob
from jobs import job_of


class OneAccountStore:
    """Knows the account and stores nothing."""

    async def load_account(self, job: SyncJob) -> Account:
        return Account(
            key=job.key,
            provider_type=job.provider_type,
            email_address="a@example.test",
            settings={},
            credentials={},
        )

    def stored_mail(self, _lease: object) -> None:
        return None


class TarPit:
    """Opens sessions that never yield a page; counts those that are open."""

    open_sessions = 0
    account: Account | None = None

    @asynccontextmanager
    async def open(self, account: Account, _stored: None) -> AsyncIterator["TarPit"]:
        self.account = account
        self.open_sessions += 1
        try:
            yield self
        finally:
            self.open_sessions -= 1

    async def pages(self) -> AsyncGenerator[FetchedPage]:
        assert self.account is not None
        self.account.quota_use.units += 20
        await anyio.sleep_forever()
        yield FetchedPage()


async def test_a_server_that_never_comes_to_a_page_does_not_keep_the_worker(
    clock: SettableClock,
) -> None:
    """The quantum is looked at after a page, so a server could hold one of few workers for ever."""
    tar_pit = TarPit()
    run_job = RunJob(
        OneAccountStore(),  # type: ignore[arg-type]  # nothing else of it is used
        {ProviderType.IMAP: tar_pit},  # type: ignore[dict-item]  # the same
        None,  # type: ignore[arg-type]  # nothing is parsed
        deadline=timedelta(milliseconds=10),
    )

    progress = Progress.start(clock)
    with pytest.raises(Unreachable, match="too slow"):
        await run_job(job_of("acme"), progress)

    assert tar_pit.open_sessions == 0
    assert progress.quota_use.units == 20  # what it spent counts, whatever its end
