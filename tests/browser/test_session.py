"""Who gets in, what is seen of whom, and how it ends."""

import pytest
from playwright.async_api import Browser, expect

from dovecot_mailbox import DovecotMailbox
from watched_page import Dashboard, Visit

REFUSED = ("status of 401", "status of 403")  # what the browser itself logs of such an answer


async def test_a_token_is_asked_for_once(visit: Visit, dashboard: Dashboard) -> None:
    await visit.page.goto("/")

    await visit.page.get_by_label("Access token").fill(dashboard.token)
    await visit.page.get_by_role("button", name="Log in").click()

    await expect(visit.page.get_by_role("heading", name="Queues")).to_be_visible()


async def test_a_wrong_token_is_refused_with_its_reason(visit: Visit) -> None:
    visit.expected = REFUSED
    await visit.page.goto("/")

    await visit.page.get_by_label("Access token").fill("wrong")
    await visit.page.get_by_role("button", name="Log in").click()

    await expect(visit.page.get_by_role("alert")).to_contain_text("This token is not known")


async def test_a_token_for_the_metrics_is_told_which_one_opens_the_dashboard(
    visit: Visit, dashboard: Dashboard
) -> None:
    visit.expected = REFUSED
    token = await dashboard.add_token("metrics")
    await visit.page.goto("/")

    await visit.page.get_by_label("Access token").fill(token)
    await visit.page.get_by_role("button", name="Log in").click()

    await expect(visit.page.get_by_role("alert")).to_contain_text("scope admin or tenant")


async def test_a_link_with_the_token_lets_in_and_does_not_stay_in_the_address(
    visit: Visit, dashboard: Dashboard
) -> None:
    await visit.page.goto(f"/#token={dashboard.token}")

    await expect(visit.page.get_by_role("heading", name="Queues")).to_be_visible()
    assert dashboard.token not in visit.page.url
    assert dashboard.token not in await visit.page.evaluate("JSON.stringify(history.state)")
    kept = "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])"
    assert await visit.page.evaluate(kept) == '["",{},{}]'


async def test_a_link_does_not_log_in_as_somebody_else(admin: Visit, dashboard: Dashboard) -> None:
    another = await dashboard.add_token("admin")

    await admin.page.goto(f"/#token={another}")
    await expect(admin.page.get_by_text("You are logged in already")).to_be_visible()
    await dashboard.remove_token(another)
    await admin.page.reload()

    await expect(admin.page.get_by_role("heading", name="Queues")).to_be_visible()
    assert another not in admin.page.url


async def test_a_link_that_is_damaged_is_told(visit: Visit) -> None:
    await visit.page.goto("/#token=%")

    await expect(visit.page.get_by_role("alert")).to_contain_text("malformed")


async def test_a_session_survives_a_reload_and_ends_by_logging_out(admin: Visit) -> None:
    await admin.page.reload()
    await expect(admin.page.get_by_role("heading", name="Queues")).to_be_visible()

    await admin.page.get_by_role("button", name="Log out").click()
    await expect(admin.page.get_by_label("Access token")).to_be_focused()
    await admin.page.reload()

    await expect(admin.page.get_by_label("Access token")).to_be_visible()
    assert await admin.context.cookies() == []


async def test_a_session_whose_token_is_removed_says_that_it_is_over(
    visit: Visit, dashboard: Dashboard
) -> None:
    visit.expected = REFUSED
    token = await dashboard.add_token("admin")
    await visit.enter(token)

    await dashboard.remove_token(token)

    await expect(visit.page.get_by_role("alert")).to_contain_text("Your session is over")
    await expect(visit.page.get_by_role("heading", name="Queues")).to_have_count(0)


async def test_a_tenant_sees_its_own_accounts_and_nothing_of_the_daemon(
    visit: Visit, dashboard: Dashboard, mailbox: DovecotMailbox
) -> None:
    await dashboard.add(mailbox, tenant="private")

    await visit.enter(await dashboard.add_token("tenant", "private"))
    await expect(visit.page.get_by_role("heading", name="Accounts by state")).to_be_visible()
    await expect(visit.page.get_by_role("heading", name="Queues")).to_have_count(0)
    await visit.open("/accounts")

    await expect(visit.page.locator("tbody tr")).to_have_count(1)
    await expect(visit.page.locator("tbody tr")).to_contain_text(mailbox.user)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_by_night_the_page_is_dark(
    browser: Browser, dashboard: Dashboard, scheme: str
) -> None:
    async with Visit.of(browser, dashboard, color_scheme=scheme) as visit:
        await visit.enter(dashboard.token)
        style = "getComputedStyle(document.body)"
        ground, text = [
            [int(part) for part in colour.strip("rgb()").split(",")]
            for colour in await visit.page.evaluate(f"[{style}.backgroundColor, {style}.color]")
        ]
        visit.check()

    assert (sum(ground) < sum(text)) is (scheme == "dark")


async def test_on_a_phone_nothing_has_to_be_scrolled_sideways(
    browser: Browser, dashboard: Dashboard, mailbox: DovecotMailbox
) -> None:
    mailbox.append(b"Subject: " + b"longer" * 40 + b"\r\n\r\ntext\r\n")
    account_id = await dashboard.add(mailbox, tenant="a-tenant-with-a-long-name" * 6)
    phone = {"width": 360, "height": 740}

    async with Visit.of(browser, dashboard, viewport=phone) as visit:
        await visit.page.goto("/")
        await expect(visit.page.get_by_label("Access token")).to_be_visible()
        widths = [await visit.width()]
        await visit.enter(dashboard.token)
        for place in ("/", "/accounts", f"/accounts/{account_id}"):
            await visit.open(place)
            widths.append(await visit.width())
        visit.check()

    assert widths == [360] * 4
