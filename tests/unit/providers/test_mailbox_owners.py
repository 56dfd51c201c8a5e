"""A token is asked whose it is when it is new, and only then; a stranger's never passes."""

from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

import pytest

from emailsync.crypto import Secret
from emailsync.domain.accounts import AccountId, AccountKey, ProviderType, TenantId
from emailsync.domain.errors import AuthRefused, Unreachable
from emailsync.ports import Account
from emailsync.providers.mailbox_owners import MailboxOwners

ADA = Account(
    key=AccountKey(TenantId("acme"), AccountId(UUID(int=1))),
    provider_type=ProviderType.MICROSOFT,
    email_address="ada@example.test",
    settings={},
    credentials={"refresh_token": Secret("first")},
)


class Provider:
    """Tells addresses, and counts how often it is asked."""

    def __init__(self, *addresses: str) -> None:
        self.told: Collection[str] | None = addresses
        self.failure: Exception | None = None
        self.asked = 0

    async def addresses(self) -> Collection[str] | None:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return self.told


def with_tokens(**tokens: str) -> Account:
    return replace(ADA, credentials={name: Secret(value) for name, value in tokens.items()})


async def test_a_token_is_asked_about_once() -> None:
    owners, provider = MailboxOwners(), Provider("ADA@example.test")

    for _ in range(3):
        await owners.prove(ADA, provider.addresses)

    assert provider.asked == 1


async def test_any_address_of_the_mailbox_is_its_own() -> None:
    await MailboxOwners().prove(ADA, Provider("main@example.test", "ada@example.test").addresses)


async def test_a_strangers_token_is_refused_each_time() -> None:
    owners, provider = MailboxOwners(), Provider("bob@example.test")

    for _ in range(2):
        with pytest.raises(AuthRefused, match="another mailbox"):
            await owners.prove(ADA, provider.addresses)


async def test_a_renewed_token_is_known_by_the_one_before_and_a_new_one_is_not() -> None:
    owners, provider = MailboxOwners(), Provider("ada@example.test")
    await owners.prove(ADA, provider.addresses)
    for old, new in (("first", "second"), ("second", "third")):
        renewed = with_tokens(refresh_token=new, previous_refresh_token=old)
        await owners.prove(renewed, provider.addresses)
    assert provider.asked == 1

    provider.told = ["bob@example.test"]
    with pytest.raises(AuthRefused):
        await owners.prove(with_tokens(refresh_token="another"), provider.addresses)


async def test_a_token_that_could_not_be_asked_about_is_asked_about_again() -> None:
    owners, provider = MailboxOwners(), Provider("ada@example.test")
    provider.failure = Unreachable("cut")
    with pytest.raises(Unreachable):
        await owners.prove(ADA, provider.addresses)

    provider.failure = None
    await owners.prove(ADA, provider.addresses)

    assert provider.asked == 2


async def test_what_a_provider_does_not_tell_is_no_refusal_and_asked_once() -> None:
    owners, provider = MailboxOwners(), Provider()
    provider.told = None

    for _ in range(2):
        await owners.prove(ADA, provider.addresses)

    assert provider.asked == 1


async def test_an_account_of_our_own_registration_is_opened_by_its_address() -> None:
    provider = Provider("bob@example.test")

    await MailboxOwners().prove(replace(ADA, credentials={}), provider.addresses)

    assert provider.asked == 0
