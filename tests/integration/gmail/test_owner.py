"""A token that opens somebody else's mailbox stores nothing of it."""

import pytest

from emailsync.domain.errors import AuthRefused
from emailsync.emulators.gmail.life import fill
from gmail_account import GmailAccount

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
