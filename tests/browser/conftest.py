"""A browser, and a running daemon with its dashboard: each started once, since both take seconds.

They live on the event loop of the whole session, and so do the tests that use them.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from connect_rig import ANN
from dovecot import DovecotServer
from installation import new_installation
from oauth_rig import CLIENT_ID, CLIENT_SECRET
from postgres import PostgresCluster
from provider_process import API, ProviderProcess, registration, running_providers
from watched_page import Dashboard, Visit

CHROMIUM = "/usr/bin/chromium"
ROOT_MAY = ["--no-sandbox"]  # Chromium does not start for root otherwise


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Run the tests of this folder on the loop of the session."""
    folder = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(folder):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A Chromium."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=ROOT_MAY)
        yield chromium
        await chromium.close()


@pytest.fixture(scope="session")
def providers() -> Iterator[ProviderProcess]:
    """Google and Microsoft, where one person has a mailbox each."""
    mailbox = {"mailboxes": [{"email": ANN, "messages": 3, "seed": 1}]}
    oauth = {"clients": {CLIENT_ID: CLIENT_SECRET}, "people": [ANN]}
    with running_providers({"oauth": oauth, **dict.fromkeys(API.values(), mailbox)}) as running:
        yield running


@pytest.fixture(scope="session")
def dashboards(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: PostgresCluster,
    dovecot: DovecotServer,
    providers: ProviderProcess,
) -> Callable[[], AbstractAsyncContextManager[Dashboard]]:
    """Starts daemons, each on a database of its own."""

    @asynccontextmanager
    async def started() -> AsyncIterator[Dashboard]:
        url = postgres.url(postgres.create_database())
        folder = tmp_path_factory.mktemp("dashboard")
        installation = new_installation(folder, url, dovecot)
        registered = registration(installation, providers, folder)
        installation.configure({"email_sync": {"cron": "0 0 1 1 *"}, **registered})
        async with installation.daemon() as daemon:
            yield Dashboard(installation, daemon)

    return started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def dashboard(
    dashboards: Callable[[], AbstractAsyncContextManager[Dashboard]],
) -> AsyncIterator[Dashboard]:
    """A running daemon that all tests share, so each adds accounts of its own."""
    async with dashboards() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, dashboard: Dashboard) -> AsyncIterator[Visit]:
    """A visitor who is not logged in; nothing may go wrong in the page behind the test's back."""
    async with Visit.of(browser, dashboard) as visitor:
        yield visitor
        visitor.check()


@pytest_asyncio.fixture(loop_scope="session")
async def admin(visit: Visit) -> Visit:
    """A visitor who is logged in as an administrator."""
    await visit.enter(visit.dashboard.token)
    return visit
