"""What the pages show, that it stays true by itself, and that their buttons do what they say."""

from playwright.async_api import Locator, Page, expect

from dovecot_mailbox import DovecotMailbox
from watched_page import Dashboard, Visit

MARKUP = "<img src=x onerror=alert(1)>"
MAIL = f"From: {MARKUP} <ann@example.test>\r\nSubject: {MARKUP}\r\n\r\ntext\r\n".encode()


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def row(page: Page, text: str) -> Locator:
    return page.get_by_role("row").filter(has_text=text)


async def test_the_overview_has_queues_accounts_providers_circuits_and_runs(
    admin: Visit, dashboard: Dashboard, mailbox: DovecotMailbox
) -> None:
    await dashboard.add(mailbox)
    await admin.open("/")

    for heading in ("Queues", "Accounts by state", "Providers", "Circuits", "Last syncs"):
        await expect(admin.page.get_by_role("heading", name=heading)).to_be_visible()
    runs = admin.page.get_by_role("table", name="The last syncs")
    await expect(runs.get_by_role("row").filter(has_text=mailbox.user)).to_contain_text("Done")
    await button(admin.page, "Failed").click()
    await expect(button(admin.page, "Failed")).to_have_attribute("aria-pressed", "true")
    await expect(runs.get_by_role("row").filter(has_text=mailbox.user)).to_have_count(0)


async def test_new_mail_appears_by_itself_after_a_sync_that_was_asked_for(
    admin: Visit, dashboard: Dashboard, mailbox: DovecotMailbox
) -> None:
    account_id = await dashboard.add(mailbox)
    await admin.open(f"/accounts/{account_id}")
    await expect(row(admin.page, "INBOX").get_by_role("cell").first).to_have_text("0")

    mailbox.append(MAIL)
    await button(admin.page, "Sync now").click()

    await expect(admin.page.get_by_text("It is synced before all others.")).to_be_visible()
    await expect(row(admin.page, "INBOX").get_by_role("cell").first).to_have_text("1")
    message = admin.page.get_by_role("table", name="The latest messages").get_by_role("row").last
    await expect(message.get_by_role("rowheader")).to_have_text(MARKUP)
    await expect(admin.page.locator("img")).to_have_count(0)


async def test_an_account_is_paused_resumed_and_its_login_tried(
    admin: Visit, dashboard: Dashboard, mailbox: DovecotMailbox
) -> None:
    account_id = await dashboard.add(mailbox)
    await admin.open(f"/accounts/{account_id}")
    state = admin.page.locator(".heading .mark")

    await button(admin.page, "Pause").click()
    await expect(state).to_have_text("Paused")
    await expect(button(admin.page, "Sync now")).to_have_count(0)
    await button(admin.page, "Test login").click()
    await expect(admin.page.get_by_text("The login works.")).to_be_visible()
    await button(admin.page, "Resume").click()
    await expect(state).to_have_text("Up to date")

    await expect(button(admin.page, "Pause")).to_be_visible()


async def test_an_account_whose_login_was_refused_is_reconnected_by_a_new_password(
    admin: Visit, dashboard: Dashboard, mailbox: DovecotMailbox
) -> None:
    account_id = await dashboard.add(mailbox)
    path = f"providers/{account_id}"
    await dashboard.ask("PATCH", path, {"credentials": {"password": "wrong"}})
    await admin.open(f"/accounts/{account_id}")
    state = admin.page.locator(".heading .mark")
    await expect(state).to_have_text("Needs reconnect")
    await expect(admin.page.locator(".why .error")).to_contain_text("AuthRefused")

    await button(admin.page, "Reconnect …").click()
    await admin.page.get_by_label("New password of the mailbox").fill(mailbox.password)
    await button(admin.page, "Reconnect").click()

    await expect(state).to_have_text("Up to date")
    await expect(admin.page.locator(".why .error")).to_have_count(0)


async def test_accounts_are_searched_and_narrowed_down_by_state(
    admin: Visit, dashboard: Dashboard, mailbox: DovecotMailbox
) -> None:
    account_id = await dashboard.add(mailbox, tenant="searched")
    await dashboard.ask("POST", f"providers/{account_id}/pause")
    await admin.open("/accounts")
    found = admin.page.locator("tbody tr")

    await admin.page.get_by_label("Search for an address").fill(mailbox.user.upper())
    await expect(found).to_have_count(1)
    await admin.page.get_by_label("State").select_option("Up to date")
    await expect(admin.page.get_by_text("No account is like this.")).to_be_visible()
    await admin.page.get_by_label("State").select_option("Paused")
    await expect(found).to_contain_text("searched")

    await admin.page.reload()
    await expect(admin.page.get_by_label("Search for an address")).to_have_value(
        mailbox.user.upper()
    )
    await found.get_by_role("link").click()
    await expect(admin.page.get_by_role("heading", level=1)).to_have_text(mailbox.user)


async def test_what_is_not_there_is_said_to_be_so(admin: Visit) -> None:
    admin.expected = ("status of 404",)

    await admin.page.goto("/#/accounts/00000000-0000-0000-0000-000000000000")

    await expect(admin.page.get_by_text("There is no such account")).to_be_visible()


async def test_a_daemon_that_is_gone_is_missed_and_found_again(admin: Visit) -> None:
    admin.expected = ("ERR_INTERNET_DISCONNECTED",)
    await admin.open("/")

    await admin.context.set_offline(True)
    gone = admin.page.get_by_text("The daemon does not answer; trying again")
    await expect(gone).to_be_visible()
    await expect(admin.page.get_by_role("heading", name="Queues")).to_be_visible()
    await admin.context.set_offline(False)

    await expect(admin.page.get_by_text("Live", exact=True)).to_be_visible()


async def test_nobody_is_asked_while_the_page_is_hidden(admin: Visit) -> None:
    """An hour passes in the page at once; when somebody looks again, it looks again as well."""
    hidden = "Object.defineProperty(document, 'hidden', {configurable: true, get: () => %s})"
    changed = "document.dispatchEvent(new Event('visibilitychange'))"
    await admin.page.clock.install()
    await admin.open("/accounts")
    await admin.page.evaluate(hidden % "true")
    await admin.page.clock.run_for(60_000)
    asked: list[str] = []
    admin.page.on("request", lambda request: asked.append(request.url))

    await admin.page.clock.run_for(3_600_000)
    while_hidden = list(asked)
    async with admin.page.expect_request("**/providers?limit=50"):
        await admin.page.evaluate(f"{hidden % 'false'}; {changed}")

    assert while_hidden == []


async def test_the_page_is_used_by_the_keyboard_and_read_out(
    admin: Visit, dashboard: Dashboard, mailbox: DovecotMailbox
) -> None:
    account_id = await dashboard.add(mailbox)
    await admin.open(f"/accounts/{account_id}")
    await admin.page.reload()
    await expect(button(admin.page, "Sync now")).to_be_visible()
    focused = "document.activeElement.textContent"

    await admin.page.locator("body").press("Tab")
    assert await admin.page.evaluate(focused) == "Skip to the content"
    await admin.page.keyboard.press("Enter")
    await admin.page.keyboard.press("Tab")
    assert await admin.page.evaluate(focused) == "Sync now"
    outline = await admin.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await admin.page.keyboard.press("Enter")

    told = admin.page.locator("[aria-live=polite]")
    await expect(told).to_contain_text("It is synced before all others.")
    assert await admin.page.evaluate(focused) == "Sync now"
    nameless = "table:not(:has(caption)), button:empty, input:not([id]):not([aria-label])"
    await expect(admin.page.locator(nameless)).to_have_count(0)
