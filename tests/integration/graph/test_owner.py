"""A token that opens somebody else's mailbox stores nothing of it."""

from pathlib import Path

import pytest

from emailsync.domain.errors import AuthRefused, ServerRefused
from emailsync.emulators.faults import Fault
from graph_account import GraphAccount, graph_account

RENAME = "UPDATE provider_configs SET email_address = $1"


async def test_a_strangers_mailbox_is_not_stored_and_the_account_needs_its_owner(
    account: GraphAccount,
) -> None:
    await account.connection.execute(RENAME, "bob@example.test")
    before = await account.row_versions()

    for _ in range(2):
        with pytest.raises(AuthRefused, match="another mailbox"):
            await account.sync()

    assert await account.row_versions() == before
    assert set(account.usage.calls) == {"user.get"}


async def test_a_token_of_a_synced_account_that_is_replaced_by_a_strangers_changes_nothing(
    account: GraphAccount,
) -> None:
    await account.sync()
    before = await account.row_versions()
    await account.connection.execute(RENAME, "bob@example.test")

    with pytest.raises(AuthRefused, match="another mailbox"):
        await account.sync()

    assert await account.row_versions() == before


async def test_an_account_may_have_any_address_of_its_mailbox(account: GraphAccount) -> None:
    account.mailbox.aliases.append("Lovelace@example.test")
    await account.connection.execute(RENAME, "lovelace@example.test")

    await account.sync()

    await account.assert_equal()


async def test_where_only_mail_was_consented_to_the_mail_is_synced(account: GraphAccount) -> None:
    account.mailbox.access.tells_owner = False

    await account.sync()
    await account.sync()

    await account.assert_equal()
    assert account.usage.calls["user.get"] == 1


@pytest.mark.parametrize("told", ["{}", '{"mail": 7, "proxyAddresses": ["x500:/o=first"]}'])
async def test_an_answer_without_an_address_proves_nothing(
    database_url: str, tmp_path: Path, told: str
) -> None:
    async with graph_account(database_url, tmp_path / "keys", messages=3) as account:
        json = {"content-type": "application/json"}
        account.emulator.faults.add(Fault(on=r"/v1.0/me\?", status=200, headers=json, body=told))

        with pytest.raises(ServerRefused, match="without the addresses"):
            await account.sync()

        assert await account.count("folders") == 0
