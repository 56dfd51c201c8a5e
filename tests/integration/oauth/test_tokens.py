"""Access tokens by google-auth and msal from issuers on real sockets: kept, and renewed in time."""

import json
import time
from datetime import timedelta

import anyio
import pytest

from emailsync.crypto import Secret
from emailsync.domain.errors import AuthRefused, AuthUnproven, Misconfigured, OperatorMustAct
from emailsync.emulators.http_host import ANY_MAILBOX
from emailsync.emulators.oauth.ledger import Rotation
from emailsync.providers.oauth.audiences import Audience
from oauth_rig import CLIENT_ID, SERVICE_ACCOUNT, OAuthRig

USERS = [Audience.GMAIL, Audience.GRAPH]
READ_ONLY = "https://www.googleapis.com/auth/gmail.readonly"
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("audience", USERS)
async def test_a_refresh_token_brings_an_access_token_that_opens_its_mailbox(
    rig: OAuthRig, audience: Audience
) -> None:
    account = rig.account(audience, "ann@example.test")

    token = await rig.of(account, audience).current()

    assert rig.owner_of(token) == "ann@example.test"
    stored = rig.vault.held(account.key)
    assert stored["access_token"] == token
    assert stored["expires_at"].reveal() == (rig.clock.now() + timedelta(seconds=3_599)).isoformat()


@pytest.mark.parametrize("audience", USERS)
async def test_a_token_is_used_until_four_fifths_of_its_life_are_over(
    rig: OAuthRig, audience: Audience
) -> None:
    account = rig.account(audience)
    first = await rig.of(account, audience).current()

    rig.clock.advance(0.79 * HOUR)
    later = await rig.of(account, audience).current()
    rig.clock.advance(0.02 * HOUR)
    renewed = await rig.of(account, audience).current()

    assert later == first
    assert renewed != first
    assert rig.ledger.granted["ann@example.test"] == 2


async def test_a_rotated_refresh_token_is_stored_before_the_access_token_is_used(
    rig: OAuthRig,
) -> None:
    rig.ledger.rotation = Rotation.ONE_TIME
    account = rig.account(Audience.GRAPH)
    for _ in range(3):
        token = await rig.of(account, Audience.GRAPH).current()
        stored = rig.vault.held(account.key)
        assert stored["access_token"] == token
        assert rig.ledger.refresh_tokens_of("ann@example.test") == [
            stored["refresh_token"].reveal()
        ]
        rig.clock.advance(HOUR)

    assert rig.ledger.refused.total() == 0


async def test_a_refused_access_token_is_renewed_once_for_all_who_had_it(rig: OAuthRig) -> None:
    account = rig.account(Audience.GMAIL)
    tokens = rig.of(account, Audience.GMAIL)
    first = await tokens.current()
    rig.ledger.expire_access_tokens()
    renewed: list[Secret] = []

    async def meet_a_refusal() -> None:
        renewed.append(await tokens.renewed(first))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(meet_a_refusal)

    assert {rig.owner_of(token) for token in renewed} == {"ann@example.test"}
    assert len(set(renewed)) == 1
    assert rig.ledger.granted["ann@example.test"] == 2


async def test_an_api_that_refuses_every_token_costs_one_renewal_in_five_minutes(
    rig: OAuthRig,
) -> None:
    account = rig.account(Audience.GRAPH)
    proofs = 0
    for _ in range(120):
        rig.clock.advance(timedelta(seconds=10))
        tokens = rig.of(account, Audience.GRAPH)
        try:
            await tokens.renewed(await tokens.current())
        except AuthUnproven:
            proofs += 1

    assert rig.ledger.granted["ann@example.test"] <= 1 + 20 / 5
    assert proofs >= 100


async def test_the_refresh_token_before_gets_one_try_when_the_new_one_is_refused(
    rig: OAuthRig,
) -> None:
    rig.ledger.rotation = Rotation.NEW
    account = rig.account(Audience.GRAPH)
    await rig.of(account, Audience.GRAPH).current()
    newest = rig.vault.held(account.key)["refresh_token"]
    del rig.ledger.refresh_tokens[newest.reveal()]
    rig.clock.advance(HOUR)

    token = await rig.of(account, Audience.GRAPH).current()

    assert rig.owner_of(token) == "ann@example.test"
    assert rig.vault.held(account.key)["refresh_token"] != newest


@pytest.mark.parametrize("audience", USERS)
async def test_a_revoked_grant_asks_its_owner_and_nobody_else(
    rig: OAuthRig, audience: Audience
) -> None:
    ann, bob = (rig.account(audience, f"{name}@example.test") for name in ("ann", "bob"))
    rig.ledger.revoke("ann@example.test")

    with pytest.raises(AuthRefused, match=r"invalid_grant.*owner has to connect it again"):
        await rig.of(ann, audience).current()

    assert rig.owner_of(await rig.of(bob, audience).current()) == "bob@example.test"


@pytest.mark.parametrize("audience", USERS)
async def test_an_owner_who_did_not_let_us_read_mail_is_asked_again(
    rig: OAuthRig, audience: Audience
) -> None:
    token = rig.ledger.add_user("ann@example.test", client_id=CLIENT_ID, scopes=["openid"])
    account = rig.account(audience, credentials={"refresh_token": token})

    with pytest.raises(AuthRefused, match=r"connect it again"):
        await rig.of(account, audience).current()


@pytest.mark.parametrize(
    ("audience", "scope"),
    [
        (Audience.GOOGLE_IMAP, "https://mail.google.com/"),
        (Audience.OUTLOOK_IMAP, "https://outlook.office.com/IMAP.AccessAsUser.All"),
    ],
)
async def test_imap_has_scopes_of_its_own(rig: OAuthRig, audience: Audience, scope: str) -> None:
    token = rig.ledger.add_user("ann@example.test", client_id=CLIENT_ID, scopes=[scope])
    account = rig.account(audience, credentials={"refresh_token": token})

    access_token = await rig.of(account, audience).current()

    assert rig.owner_of(access_token) == "ann@example.test"


@pytest.mark.parametrize("audience", USERS)
async def test_a_wrong_client_secret_is_the_operators_and_a_new_one_works_at_once(
    rig: OAuthRig, audience: Audience
) -> None:
    account = rig.account(audience)
    secret = rig.secrets / "secret"
    right = secret.read_text()
    secret.write_text("expired\n")
    with pytest.raises(OperatorMustAct, match=r"invalid_client.*client_secret_file"):
        await rig.of(account, audience).current()

    secret.write_text(right)
    token = await rig.of(account, audience).current()

    assert rig.owner_of(token) == "ann@example.test"


async def test_a_secret_that_others_may_read_is_not_used(rig: OAuthRig) -> None:
    account = rig.account(Audience.GRAPH)
    (rig.secrets / "secret").chmod(0o644)

    with pytest.raises(OperatorMustAct, match=r"oauth\.microsoft\.client_secret_file.*chmod 600"):
        await rig.of(account, Audience.GRAPH).current()


async def test_a_token_that_lives_is_used_while_the_secret_is_wrong(rig: OAuthRig) -> None:
    account = rig.account(Audience.GMAIL)
    first = await rig.of(account, Audience.GMAIL).current()
    (rig.secrets / "secret").write_text("expired\n")
    rig.clock.advance(0.9 * HOUR)

    assert await rig.of(account, Audience.GMAIL).current() == first

    rig.clock.advance(0.1 * HOUR)
    with pytest.raises(OperatorMustAct):
        await rig.of(account, Audience.GMAIL).current()


async def test_a_service_account_speaks_for_the_mailbox_and_keeps_its_token_in_memory(
    rig: OAuthRig,
) -> None:
    key = rig.ledger.add_service_account(SERVICE_ACCOUNT, [READ_ONLY])
    (rig.secrets / "service-account").write_text(key)
    rig.ledger.clock = time.time  # google-auth dates what it signs by the machine's clock
    account = rig.account(Audience.GMAIL, auth="service_account")

    token = await rig.of(account, Audience.GMAIL).current()
    again = await rig.of(account, Audience.GMAIL).current()

    assert rig.owner_of(token) == "ann@example.test"
    assert again == token
    assert "access_token" not in rig.vault.held(account.key)


async def test_a_service_account_that_is_not_authorised_is_the_operators(rig: OAuthRig) -> None:
    key = rig.ledger.add_service_account(SERVICE_ACCOUNT, [])
    (rig.secrets / "service-account").write_text(key)
    rig.ledger.clock = time.time  # google-auth dates what it signs by the machine's clock
    account = rig.account(Audience.GMAIL, auth="service_account")

    with pytest.raises(OperatorMustAct, match=r"administrator.*has to authorise"):
        await rig.of(account, Audience.GMAIL).current()


@pytest.mark.parametrize("content", ["", "{}", "no JSON", json.dumps({"client_email": "x"})])
async def test_a_file_that_is_no_service_accounts_key_is_the_operators(
    rig: OAuthRig, content: str
) -> None:
    (rig.secrets / "service-account").write_text(content)
    account = rig.account(Audience.GMAIL, auth="service_account")

    with pytest.raises(OperatorMustAct, match=r"oauth\.google\.service_account_file"):
        await rig.of(account, Audience.GMAIL).current()


async def test_an_application_has_one_token_for_all_mailboxes_of_a_directory(
    rig: OAuthRig,
) -> None:
    rig.ledger.directories.add("contoso.example")
    accounts = [
        rig.account(
            Audience.GRAPH,
            f"{name}@contoso.example",
            permission="application",
            tenant="contoso.example",
        )
        for name in ("ann", "bob")
    ]

    tokens = [await rig.of(account, Audience.GRAPH).current() for account in accounts]

    assert tokens[0] == tokens[1]
    assert rig.owner_of(tokens[0]) == ANY_MAILBOX
    assert rig.ledger.granted.total() == 1


async def test_a_users_own_directory_is_asked_when_it_is_known(rig: OAuthRig) -> None:
    rig.ledger.directories.add("contoso.example")
    account = rig.account(Audience.GRAPH, tenant="contoso.example")

    await rig.of(account, Audience.GRAPH).current()

    assert dict(rig.emulator.usage.requests) == {"POST /{tenant}/oauth2/v2.0/token": 1}


@pytest.mark.parametrize(
    ("audience", "settings"),
    [
        (Audience.GMAIL, {"auth": "password"}),
        (Audience.GRAPH, {"permission": "all"}),
        (Audience.GRAPH, {"permission": "application"}),
        (Audience.GRAPH, {"tenant": "../common"}),
    ],
)
async def test_settings_that_name_no_way_to_sign_in_are_the_accounts_own(
    rig: OAuthRig, audience: Audience, settings: dict[str, str]
) -> None:
    account = rig.account(audience, **settings)

    with pytest.raises(Misconfigured, match=r"the account's setting"):
        rig.of(account, audience)
