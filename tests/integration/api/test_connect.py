"""Mailboxes connected in a browser: what becomes of a consent that was given."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from api_rig import ACME
from connect_rig import ANN, APP, BOB, MAIL_SCOPE, ConnectRig, query_of, told
from emailsync.domain.accounts import AccountKey
from emailsync.emulators.oauth.codes import s256
from emailsync.store.sealing import open_credentials
from problems import refused
from store_rig import KEYS

DIRECTORY = "contoso.example"
each_issuer = pytest.mark.parametrize("issuer", list(MAIL_SCOPE))


@each_issuer
async def test_an_owner_who_agrees_has_an_account_that_is_due_at_once(
    connecting: ConnectRig, issuer: str
) -> None:
    started = await connecting.start(issuer, ACME)
    answer = await connecting.browser.connect(started["consent_url"])

    (account,) = await connecting.accounts()
    credentials = open_credentials(
        KEYS, AccountKey(account["tenant_id"], account["id"]), account["credentials"]
    )
    assert told(answer) == {
        "connect": "connected",
        "provider_id": str(account["id"]),
        "connect_id": started["connect_id"],
    }
    assert answer.headers["location"].startswith(f"{connecting.api.url}/settings/mail?")
    assert (account["provider_type"], account["email_address"]) == (issuer, ANN)
    assert (account["status"], account["settings"]) == ("active", "{}")
    assert account["next_sync_at"] <= datetime.now(UTC)
    assert connecting.oauth.ledger.refresh_tokens_of(ANN) == [credentials["refresh_token"].reveal()]
    assert connecting.oauth.mailbox_of(credentials["access_token"].reveal()) == ANN


@each_issuer
async def test_the_owner_is_asked_for_no_more_than_reading_takes(
    connecting: ConnectRig, issuer: str
) -> None:
    asked = query_of((await connecting.start(issuer, email_address=ANN))["consent_url"])

    more = {"microsoft": {"offline_access", "https://graph.microsoft.com/User.Read"}}
    assert set(asked["scope"].split()) == {MAIL_SCOPE[issuer]} | more.get(issuer, set())
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert asked["login_hint"] == ANN
    assert asked["redirect_uri"] == f"{connecting.api.url}/providers/{issuer}/callback"
    assert len(asked["state"]) >= 43  # 256 bits
    assert len(asked["code_challenge"]) == 43


@each_issuer
async def test_an_account_that_is_connected_again_keeps_all_that_is_stored_of_it(
    connecting: ConnectRig, issuer: str
) -> None:
    before = await connecting.account_with_mail(
        issuer,
        status="needs_reconnect",
        last_history_id="4711",
        last_delta_link="the-link",
        last_error="refused",
        last_synced_at=datetime(2026, 1, 1, tzinfo=UTC),
        next_sync_at=datetime(2030, 1, 1, tzinfo=UTC),
    )

    outcome = await connecting.connect(issuer, provider_id=str(before["id"]))

    (after,) = await connecting.accounts()
    kept = ("id", "email_address", "last_history_id", "last_delta_link", "last_synced_at")
    assert outcome["connect"] == "reconnected"
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert (after["status"], after["last_error"]) == ("active", None)
    assert after["next_sync_at"] <= datetime.now(UTC)
    assert after["credentials"] != before["credentials"]


@each_issuer
async def test_a_mailbox_that_is_connected_twice_is_one_account(
    connecting: ConnectRig, issuer: str
) -> None:
    first = await connecting.connect(issuer)
    second = await connecting.connect(issuer)

    assert (first["connect"], second["connect"]) == ("connected", "reconnected")
    assert first["provider_id"] == second["provider_id"]
    assert len(await connecting.accounts()) == 1


@each_issuer
async def test_another_mailbox_than_the_one_that_is_meant_is_refused(
    connecting: ConnectRig, issuer: str
) -> None:
    before = await connecting.account_with_mail(issuer, status="needs_reconnect")

    again = await connecting.connect(issuer, BOB, provider_id=str(before["id"]))
    new = await connecting.connect(issuer, BOB, email_address="carl@example.test")

    assert (again["connect"], again["reason"]) == ("failed", "wrong_mailbox")
    assert (new["connect"], new["reason"]) == ("failed", "wrong_mailbox")
    assert await connecting.accounts() == [before]


@each_issuer
async def test_an_owner_who_keeps_mail_to_himself_is_told_what_to_do(
    connecting: ConnectRig, issuer: str
) -> None:
    """Google's granular consent, or a directory that cuts the scopes."""
    rest = ["offline_access", "https://graph.microsoft.com/User.Read"]
    scopes = ["https://www.googleapis.com/auth/gmail.labels"] if issuer == "google" else rest
    consent_url = (await connecting.start(issuer, return_to=None))["consent_url"]
    back = await connecting.browser.agree(consent_url)
    code, asked = connecting.oauth.ledger.codes.popitem()
    connecting.oauth.ledger.codes[code] = replace(asked, scopes=frozenset(scopes))

    answer = await connecting.browser.open(back)

    assert answer.status_code == 400
    assert "leave every box ticked" in answer.text
    assert await connecting.accounts() == []


@each_issuer
async def test_an_owner_who_does_not_agree_is_sent_back_with_the_reason(
    connecting: ConnectRig, issuer: str
) -> None:
    started = await connecting.start(issuer, return_to=APP)
    answer = await connecting.browser.connect(started["consent_url"], decision="deny")

    assert answer.headers["location"].startswith(f"{APP}?")
    assert told(answer) == {
        "connect": "failed",
        "reason": "access_denied",
        "connect_id": started["connect_id"],
    }
    assert await connecting.accounts() == []


@each_issuer
async def test_without_a_place_to_return_to_a_page_tells_the_result(
    connecting: ConnectRig, issuer: str
) -> None:
    started = await connecting.start(issuer, return_to=None)
    back = await connecting.browser.agree(started["consent_url"])

    page, again = await connecting.browser.open(back), await connecting.browser.open(back)

    assert (page.status_code, again.status_code) == (200, 400)
    assert "is connected" in page.text
    assert "used already" in again.text
    for each in (page, again):
        assert each.headers["content-type"].startswith("text/html")
        assert each.headers["content-security-policy"].startswith("default-src 'none'")
        assert each.headers["cache-control"] == "no-store"
        assert each.headers["referrer-policy"] == "no-referrer"


async def test_whoever_has_no_mailbox_is_told_so(connecting: ConnectRig) -> None:
    connecting.oauth.ledger.people.add("nobody@example.test")
    connecting.graph.ledger.mailbox(ANN).access.is_enabled = False

    for address in (ANN, "nobody@example.test"):
        outcome = await connecting.connect("microsoft", address)
        assert outcome["reason"] == "no_mailbox"

    assert await connecting.accounts() == []


async def test_a_token_that_does_not_tell_whose_it_is_makes_no_account(
    connecting: ConnectRig,
) -> None:
    connecting.graph.ledger.mailbox(ANN).access.tells_owner = False

    outcome = await connecting.connect("microsoft")

    assert outcome["reason"] == "missing_scope"
    assert await connecting.accounts() == []


async def test_a_mailbox_is_known_by_each_of_its_addresses(connecting: ConnectRig) -> None:
    connecting.graph.ledger.mailbox(ANN).aliases.append("Ann.Old@example.test")

    first = await connecting.connect("microsoft", email_address="ann.old@example.test")
    again = await connecting.connect("microsoft")

    assert (first["connect"], again["connect"]) == ("connected", "reconnected")
    (account,) = await connecting.accounts()
    assert account["email_address"] == "ann.old@example.test"


async def test_an_administrator_agrees_for_a_directory(connecting: ConnectRig) -> None:
    order = {"permission": "application", "directory": DIRECTORY, "email_address": ANN}
    started = await connecting.start("microsoft", **order)

    answer = await connecting.browser.connect(started["consent_url"])

    (account,) = await connecting.accounts()
    assert urlsplit(started["consent_url"]).path == f"/{DIRECTORY}/v2.0/adminconsent"
    assert query_of(started["consent_url"])["scope"] == "https://graph.microsoft.com/.default"
    assert told(answer)["provider_id"] == str(account["id"])
    assert account["email_address"] == ANN
    assert json.loads(account["settings"]) == {"permission": "application", "tenant": DIRECTORY}
    tried = await connecting.api.ask("POST", f"/providers/{account['id']}/test")
    assert tried.json()["ok"] is True


async def test_a_directory_that_did_not_agree_is_not_believed_to_have(
    connecting: ConnectRig,
) -> None:
    """Whoever has the state can write what he likes: the directory itself has to let us in."""
    connecting.oauth.ledger.directories.add("victim.example")
    order = {"permission": "application", "directory": DIRECTORY, "email_address": ANN}
    outcomes = []
    for forged in ({"tenant": "victim.example"}, {"tenant": DIRECTORY}, {"admin_consent": "False"}):
        state = query_of((await connecting.start("microsoft", **order))["consent_url"])["state"]
        answer = await connecting.api.get(
            "/providers/microsoft/callback",
            None,
            params={"state": state, "admin_consent": "True"} | forged,
        )
        outcomes.append(told(answer)["connect"])
    denied = await connecting.browser.connect(
        (await connecting.start("microsoft", **order))["consent_url"], decision="deny"
    )

    assert outcomes == ["failed"] * 3
    assert told(denied)["reason"] == "access_denied"
    assert await connecting.accounts() == []


async def test_only_an_admin_token_asks_for_a_whole_directory(connecting: ConnectRig) -> None:
    path, order = "/providers/microsoft/connect", {"tenant_id": "acme", "permission": "application"}
    whole = order | {"directory": DIRECTORY, "email_address": ANN}

    refused(await connecting.api.ask("POST", path, ACME, json=whole), 403)
    refused(await connecting.api.ask("POST", path, json=order), 422)
    refused(await connecting.api.ask("POST", path, json=whole | {"directory": "a/b"}), 422)
    refused(await connecting.api.ask("POST", path, json=whole | {"permission": "delegated"}), 422)


async def test_an_account_is_connected_again_by_its_own_address_only(
    connecting: ConnectRig,
) -> None:
    path, account = "/providers/google/connect", await connecting.account_with_mail("google")
    order = {"tenant_id": "acme", "provider_id": str(account["id"])}

    own = await connecting.api.ask("POST", path, json=order | {"email_address": ANN.upper()})
    other = await connecting.api.ask("POST", path, json=order | {"email_address": BOB})

    assert own.status_code == 200
    assert refused(other, 422)["errors"][0]["where"] == "body.email_address"


async def test_an_imap_account_that_lives_on_tokens_is_connected_again(
    connecting: ConnectRig,
) -> None:
    """Its server wants tokens of another kind than the provider's own API."""
    for issuer, scope in (
        ("google", "https://mail.google.com/"),
        ("microsoft", "https://outlook.office.com/IMAP.AccessAsUser.All"),
    ):
        settings = {"host": "imap.example.test", "port": 993, "security": "tls", "username": ANN}
        new = {
            "tenant_id": "acme",
            "provider_type": "imap",
            "email_address": ANN,
            "settings": settings | {"oauth": issuer},
            "credentials": {"refresh_token": "dead"},
        }
        added = await connecting.api.ask("POST", "/providers", json=new)
        account_id = added.json()["id"]

        outcome = await connecting.connect(issuer, provider_id=account_id)

        assert outcome == outcome | {"connect": "reconnected", "provider_id": account_id}
        assert scope in connecting.oauth.ledger.users[ANN].scopes
        await connecting.api.ask("DELETE", f"/providers/{account_id}")


async def test_a_password_account_has_no_consent_to_give(connecting: ConnectRig) -> None:
    (imap,) = await connecting.api.mail.rows("SELECT id FROM provider_configs")
    order = {"tenant_id": "acme", "provider_id": str(imap["id"])}

    answer = await connecting.api.ask("POST", "/providers/google/connect", json=order)

    assert (answer.status_code, answer.json()["errors"][0]["where"]) == (422, "body.provider_id")


async def test_what_the_operator_has_not_set_up_is_named(connecting: ConnectRig) -> None:
    connecting.configure(public_url=None)
    order = {"tenant_id": "acme"}

    answer = await connecting.api.ask("POST", "/providers/google/connect", json=order)

    assert answer.status_code == 409
    assert "http.public_url" in answer.json()["detail"]


def test_the_emulated_issuer_takes_no_code_without_its_verifier() -> None:
    """RFC 7636 appendix B."""
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

    assert s256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == challenge
