"""The emulated issuers' pages and codes, as strict as the real ones are."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from clock import SettableClock
from emailsync.emulators.http_host import serve
from emailsync.emulators.oauth.app import OAuthEmulator
from emailsync.emulators.oauth.codes import s256
from emailsync.emulators.oauth.ledger import OAuthLedger

ANN, BACK = "ann@example.test", "https://client.example/callback"
VERIFIER = "v" * 43
PATHS = {
    "google": ("/google/authorize", "/google/token"),
    "microsoft": ("/common/oauth2/v2.0/authorize", "/common/oauth2/v2.0/token"),
}
each_issuer = pytest.mark.parametrize("issuer", list(PATHS))


@dataclass
class Issuers:
    """The emulated issuers, and a person who agrees there."""

    ledger: OAuthLedger
    clock: SettableClock
    http: httpx.AsyncClient

    async def agree(self, issuer: str, address: str = ANN, **changes: Any) -> httpx.Response:
        asked = {
            "client_id": "client",
            "redirect_uri": BACK,
            "response_type": "code",
            "scope": "offline_access a b",
            "state": "the-state",
            "code_challenge": s256(VERIFIER),
            "code_challenge_method": "S256",
        } | changes
        form = {"address": address, "decision": "allow", "scope": ["offline_access", "a", "c"]}
        return await self.http.post(f"{PATHS[issuer][0]}?{urlencode(asked)}", data=form)

    async def redeem(self, issuer: str, code: str, **changes: str) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "client_id": "client",
            "client_secret": "secret",
            "redirect_uri": BACK,
            "code": code,
            "code_verifier": VERIFIER,
        } | changes
        return await self.http.post(PATHS[issuer][1], data=form)


@pytest.fixture
async def issuers(clock: SettableClock) -> AsyncIterator[Issuers]:
    emulator = OAuthEmulator(OAuthLedger(clock=lambda: clock.now().timestamp()))
    emulator.ledger.add_client("client", "secret")
    emulator.ledger.clients["client"].redirect_uris = {BACK}
    emulator.ledger.people.add(ANN)
    async with (
        serve(emulator.app) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as http,
    ):
        yield Issuers(emulator.ledger, clock, http)


def sent_back(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(f"{BACK}?")
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


@each_issuer
async def test_a_code_brings_tokens_for_what_was_agreed_to(issuers: Issuers, issuer: str) -> None:
    back = sent_back(await issuers.agree(issuer))

    tokens = (await issuers.redeem(issuer, back["code"])).json()

    assert back["state"] == "the-state"
    assert ("iss" in back) == (issuer == "google")
    assert "a" in tokens["scope"].split()
    assert not {"b", "c"} & set(tokens["scope"].split())
    assert issuers.ledger.mailbox_of(tokens["access_token"]) == ANN
    assert issuers.ledger.refresh_tokens_of(ANN) == [tokens["refresh_token"]]


@each_issuer
async def test_a_code_is_good_once_for_a_minute_and_for_whoever_asked(
    issuers: Issuers, issuer: str
) -> None:
    issuers.ledger.add_client("other", "secret")
    other = next(each for each in PATHS if each != issuer)
    codes = [sent_back(await issuers.agree(issuer))["code"] for _ in range(5)]

    first = await issuers.redeem(issuer, codes[0])
    refused = [
        await issuers.redeem(issuer, codes[0]),
        await issuers.redeem(issuer, codes[1], code_verifier="w" * 43),
        await issuers.redeem(issuer, codes[1]),  # spent by the try before
        await issuers.redeem(issuer, codes[2], redirect_uri=f"{BACK}2"),
        await issuers.redeem(issuer, codes[3], client_id="other"),
        await issuers.redeem(other, codes[4]),
    ]
    late = sent_back(await issuers.agree(issuer))["code"]
    issuers.clock.advance(timedelta(seconds=issuers.ledger.code_life_s))
    refused.append(await issuers.redeem(issuer, late))

    assert first.status_code == 200
    assert {(each.status_code, each.json()["error"]) for each in refused} == {
        (400, "invalid_grant")
    }


@each_issuer
async def test_a_client_that_is_not_registered_gets_no_browser_back(
    issuers: Issuers, issuer: str
) -> None:
    for changes in ({"client_id": "nobody"}, {"redirect_uri": "https://evil.example/"}):
        answer = await issuers.agree(issuer, **changes)
        assert (answer.status_code, "location" in answer.headers) == (400, False)

    stranger = await issuers.agree(issuer, "<b>stranger</b>")
    assert stranger.status_code == 400
    assert "<b>" not in stranger.text


@each_issuer
async def test_who_asks_without_a_challenge_is_sent_back_without_a_code(
    issuers: Issuers, issuer: str
) -> None:
    for changes in ({"code_challenge_method": "plain"}, {"response_type": "token"}):
        assert sent_back(await issuers.agree(issuer, **changes))["error"] == "invalid_request"
