"""Whatever senders, servers and tenants call themselves is shown letter by letter, not obeyed.

Everything is filled twice: with hostile strings, and with harmless ones in the same places. The
pages must have the same elements with the same attributes.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser, expect

from watched_page import Dashboard, Visit

HOSTILE = [
    line
    for line in (Path(__file__).parent / "hostile_strings.txt").read_text("utf-8").split("\n")
    if line and not line.startswith("# ")
]
HARMLESS = [f"plain {number}" for number in range(len(HOSTILE))]
OF_AN_ACCOUNT = 10  #: folders and messages, as many as its page shows
ACCOUNTS = len(HOSTILE) // OF_AN_ACCOUNT  #: that have any
FILL = (
    "INSERT INTO tenants (id) SELECT value FROM strings",
    """
    INSERT INTO provider_configs (tenant_id, id, provider_type, email_address, endpoint, status,
        settings, last_error, last_error_class, last_error_at)
    SELECT value, account, 'imap', value, value, 'error',
        jsonb_build_object('host', value, 'port', 993, 'security', 'tls', 'username', value),
        value, value, now()
    FROM strings
    """,
    """
    INSERT INTO circuits (provider_type, endpoint, state, failures, retry_at)
    SELECT 'imap', value, 'OPEN', 5, now() + interval '1 hour' FROM strings
    """,
    """
    INSERT INTO folders (tenant_id, provider_id, remote_id, path)
    SELECT owner.value, owner.account, each.value, each.value
    FROM strings AS each JOIN strings AS owner ON owner.place = each.owner
    """,
    """
    INSERT INTO messages (tenant_id, provider_id, remote_id, size_bytes, subject, from_name,
        from_address, received_at)
    SELECT owner.value, owner.account, each.value, 1, each.value,
        CASE WHEN each.place % 2 = 0 THEN each.value END, each.value, now()
    FROM strings AS each JOIN strings AS owner ON owner.place = each.owner
    """,
    """
    INSERT INTO sync_runs (tenant_id, provider_id, queue, instance_id, attempt, result, error_class,
        error, started_at, duration_ms, created, updated, deleted, quarantined, unexplained,
        fetched_bytes)
    SELECT owner.value, owner.account, 'low', each.value, 1, 'failed', each.value, each.value,
        now(), 1, 1, 0, 0, 0, 0, 0
    FROM strings AS each JOIN strings AS owner ON owner.place = each.owner
    """,
)
STRINGS = """
CREATE TABLE strings AS
SELECT value, place, (place - 1) / %d + 1 AS owner, gen_random_uuid() AS account
FROM unnest(ARRAY[%s]) WITH ORDINALITY AS string (value, place)
"""
SHAPE = """
[...document.documentElement.querySelectorAll("*")].map((element) =>
    [element.tagName, ...[...element.attributes].map(({name}) => name).sort()].join(" "))
"""
TEXTS = """
[...document.querySelectorAll(".page *")].flatMap(
    (element) => [...element.childNodes].map((node) => node.textContent))
"""


@pytest_asyncio.fixture(loop_scope="session")
async def visits(
    browser: Browser, dashboards: Callable[[], AbstractAsyncContextManager[Dashboard]]
) -> AsyncIterator[Sequence[Visit]]:
    """An administrator of a hostile world, and one of a harmless world."""
    async with AsyncExitStack() as stack:
        visits = []
        for strings in (HOSTILE, HARMLESS):
            dashboard = await stack.enter_async_context(dashboards())
            await fill(dashboard, strings)
            visits.append(await stack.enter_async_context(Visit.of(browser, dashboard)))
        yield visits
        for visit in visits:
            visit.check()


async def fill(dashboard: Dashboard, strings: Sequence[str]) -> None:
    quoted = ", ".join("'" + string.replace("'", "''") + "'" for string in strings)
    await dashboard.installation.fetch(STRINGS % (OF_AN_ACCOUNT, quoted))
    for statement in FILL:
        await dashboard.installation.fetch(statement)


async def shape(visit: Visit) -> Counter[str]:
    """Return every element of the page with the names of its attributes, and how many there are."""
    return Counter(await visit.page.evaluate(SHAPE))


async def texts(visit: Visit) -> set[str]:
    """Return the whole text of each part of the page."""
    return set(await visit.page.evaluate(TEXTS))


async def account_pages(visit: Visit) -> AsyncIterator[None]:
    """Look at each account that has folders, runs and messages."""
    rows = await visit.dashboard.installation.fetch(
        "SELECT account, value FROM strings WHERE place <= $1", ACCOUNTS
    )
    for row in rows:
        place = f"/accounts/{row['account']}"
        await visit.page.evaluate("place => { location.hash = place }", place)
        await expect(visit.page.get_by_role("heading", level=1)).to_have_text(row["value"])
        yield


async def list_pages(visit: Visit) -> AsyncIterator[None]:
    """Look at each page of the list of accounts."""
    await visit.open("/accounts")
    yield
    following = visit.page.get_by_role("button", name="Next")
    while await following.count():
        first = await visit.page.locator("tbody th").first.inner_text()
        await following.click()
        await expect(visit.page.locator("tbody th").first).not_to_have_text(first)
        await expect(visit.page.locator("[aria-disabled]")).to_have_count(0)
        yield


async def test_two_hundred_hostile_strings_are_text_wherever_they_come_from(
    visits: Sequence[Visit],
) -> None:
    assert len(HOSTILE) >= 200
    hostile, harmless = visits
    for visit in visits:
        await visit.enter(visit.dashboard.token)

    await expect(hostile.page.locator("tbody tr").last).to_be_visible()
    await expect(harmless.page.locator("tbody tr").last).to_be_visible()
    assert await shape(hostile) == await shape(harmless)

    listed: list[Counter[str]] = [await shape(harmless) async for _ in list_pages(harmless)]
    seen: set[str] = set()
    place = 0
    async for _ in list_pages(hostile):
        assert await shape(hostile) == listed[place]
        seen |= await texts(hostile)
        place += 1
    assert (place, set(HOSTILE) - seen) == (len(listed), set())

    pages = account_pages(harmless)
    await anext(pages)
    plain = await shape(harmless)
    seen = set()
    async for _ in account_pages(hostile):
        assert await shape(hostile) == plain
        seen |= await texts(hostile)
    assert set(HOSTILE) - seen == set()
    assert "hit" not in await hostile.page.title()
