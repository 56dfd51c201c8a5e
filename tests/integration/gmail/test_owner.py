"""A token that opens somebody else's mailbox stores nothing of it."""

from typing import Any, cast
from uuid import uuid4

import pytest

from emailsync.config import LiveSettings, Settings
from emailsync.crypto import Secret
from emailsync.domain.accounts import AccountId, AccountKey, ProviderType, TenantId
from emailsync.domain.errors import AuthRefused, SyncError, Throttled
from emailsync.domain.quota_use import QuotaUse
from emailsync.emulators.gmail.life import fill
from emailsync.ports import Account, StoredMail
from emailsync.providers.gmail.opener import GmailOpener
from emailsync.providers.http_client import HttpClient
from emailsync.providers.quota import google_quota
from gmail_account import GmailAccount
from scripted_http import Exchange, scripted

RENAME = "UPDATE provider_configs SET email_address = $1"


@pytest.mark.parametrize("is_synced", [False, True])
async def test_a_strangers_mailbox_is_not_stored_and_the_account_needs_its_owner(
    account: GmailAccount, *, is_synced: bool
) -> None:
    fill(account.mailbox, 20)
    if is_synced:
        await account.sync()
    await account.connection.execute(RENAME, "somebody@example.com")
    before = await account.row_versions()
    account.usage.reset()

    for _ in range(2):
        with pytest.raises(AuthRefused, match="another mailbox"):
            await account.sync()

    assert await account.row_versions() == before
    assert set(account.usage.calls) == {"getProfile"}


async def test_an_account_that_lost_its_owner_is_synced_again_when_that_one_connects_it(
    account: GmailAccount,
) -> None:
    fill(account.mailbox, 20)
    await account.connection.execute(RENAME, "somebody@example.com")
    with pytest.raises(AuthRefused):
        await account.sync()

    await account.connection.execute(RENAME, account.mailbox.address.upper())
    await account.sync()

    await account.assert_equal()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 429, "retry_after": "600"}, Throttled),
        ({"body": b'{"emailAddress": "bob@example.test"}'}, AuthRefused),
    ],
    ids=["throttled", "refused"],
)
async def test_a_claim_to_an_address_neither_pauses_nor_spends_that_mailboxs_quota(
    answer: dict[str, Any], error: type[SyncError]
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(**answer)

    settings = LiveSettings(Settings())
    quota = google_quota(settings)
    async with scripted(script) as server, HttpClient(server.url) as http:
        opener = GmailOpener(settings, http, quota, lambda _: StaticToken())
        claim = an_account("other", QuotaUse(epoch=1, is_partly_unknown=True))
        with pytest.raises(error):
            async with opener.open(claim, cast("StoredMail", None)):
                pass

    owners = quota.of(an_account("acme", QuotaUse(epoch=1)))
    async with owners.spend(owners.largest):
        pass


class StaticToken:
    """A TokenSource."""

    async def current(self) -> Secret:
        return Secret("token")

    async def renewed(self, rejected: Secret) -> Secret:
        return rejected


def an_account(tenant: str, use: QuotaUse) -> Account:
    """Return an account of Ann's address, whoever it is."""
    return Account(
        key=AccountKey(TenantId(tenant), AccountId(uuid4())),
        provider_type=ProviderType.GOOGLE,
        email_address="ann@example.test",
        settings={},
        credentials={"refresh_token": Secret(tenant)},
        quota_use=use,
    )
