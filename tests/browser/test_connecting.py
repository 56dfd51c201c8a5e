"""Accounts are added and reconnected in the dashboard: by a password, and at their issuers."""

from collections.abc import Collection
from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from connect_rig import ANN
from dovecot_mailbox import DovecotMailbox
from provider_process import ProviderProcess
from watched_page import Visit


async def begin_to_add(admin: Visit, tenant: str, provider: str, address: str) -> None:
    """Open the dialog and say who it is."""
    await admin.open("/accounts")
    await admin.page.get_by_role("button", name="Add account …").click()
    dialog = admin.page.get_by_role("dialog")
    await dialog.get_by_label("Tenant").fill(tenant)
    await dialog.get_by_label("Provider").select_option(provider)
    await dialog.get_by_label("Address", exact=True).fill(address)


async def add(admin: Visit) -> None:
    await admin.page.get_by_role("button", name="Add", exact=True).click()


async def agree(admin: Visit, providers: ProviderProcess) -> None:
    """Sign in at the issuer; that page is not ours, may be a stranger, and lacks an icon."""
    admin.expected = ("status of 404",)
    await admin.page.wait_for_url(f"{providers.urls['oauth']}/**")
    await admin.page.get_by_role("button", name="Allow").click()
    await expect(admin.page.get_by_text("The mailbox is connected")).to_be_visible()
    issuers = urlsplit(providers.urls["oauth"]).netloc
    admin.strangers = [url for url in admin.strangers if urlsplit(url).netloc != issuers]


async def test_an_imap_account_is_added_by_its_password(
    admin: Visit, mailbox: DovecotMailbox
) -> None:
    await begin_to_add(admin, "adding", "IMAP", mailbox.user)
    dialog = admin.page.get_by_role("dialog")
    await dialog.get_by_label("Server").fill(mailbox.host)
    await dialog.get_by_label("Port").fill(str(mailbox.port))
    await dialog.get_by_label("Encryption").select_option("None")
    await dialog.get_by_label("Password").fill(mailbox.password)
    await add(admin)

    await expect(admin.page.get_by_role("heading", level=1)).to_have_text(mailbox.user)
    await expect(admin.page.locator(".heading .mark")).to_have_text("Up to date")


async def test_what_the_daemon_refuses_is_said_in_the_dialog(
    admin: Visit, mailbox: DovecotMailbox
) -> None:
    admin.expected = ("status of 422",)
    await begin_to_add(admin, "adding", "IMAP", mailbox.user)
    dialog = admin.page.get_by_role("dialog")
    await dialog.get_by_label("Password").fill("anything")
    await add(admin)
    await expect(dialog.get_by_role("alert")).to_have_text(
        "settings.host: no IMAP server is known for this address: give host, port and security"
    )
    await dialog.get_by_label("Server").fill("x" * 254)
    await expect(dialog.get_by_role("alert")).to_be_hidden()
    await add(admin)

    await expect(dialog.get_by_role("alert")).to_contain_text("settings.host: String")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(dialog).to_have_count(0)


@pytest.mark.parametrize("provider", ["Gmail", "Microsoft 365"])
async def test_a_mailbox_is_connected_at_its_issuer_and_connected_again(
    admin: Visit, providers: ProviderProcess, provider: str
) -> None:
    await begin_to_add(admin, "connecting", provider, ANN)
    await expect(admin.page.get_by_label("Server")).not_to_be_visible()
    await add(admin)
    await agree(admin, providers)
    row = admin.page.get_by_role("row").filter(has_text=ANN).filter(has_text=provider)
    await expect(row).to_contain_text("connecting")
    await row.get_by_role("link").click()
    await expect(admin.page.locator(".heading .mark")).to_have_text("Up to date")

    await admin.page.get_by_role("button", name="Reconnect …").click()
    await agree(admin, providers)

    await expect(admin.page.get_by_role("heading", level=1)).to_have_text(ANN)
    assert left_in(admin.page.url) == []


def left_in(url: str) -> Collection[str]:
    """Return what of the way back is still in the address."""
    return [part for part in ("connect", "provider_id") if part in url]
