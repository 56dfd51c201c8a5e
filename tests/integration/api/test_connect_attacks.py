"""What RFC 9700 warns of: codes and states that are stolen, repeated, mixed up, or led astray."""

import io
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import anyio
import httpx
import pytest

from api_rig import ACME, ADMIN, OTHER
from connect_rig import ANN, BOB, MAIL_SCOPE, Browser, ConnectRig, query_of, told
from emailsync import logs
from emailsync.api.connect_callback import AT_ONCE, WAITING
from emailsync.crypto import Secret, token_hash
from emailsync.domain.access import Grant, Scope
from emailsync.domain.accounts import TenantId
from emailsync.domain.errors import Unreachable
from emailsync.providers.oauth.connector import Connected
from emailsync.providers.oauth.consent import Consent
from emailsync.store.connect_flows import MOST_OPEN
from emailsync.store.retention import remove_old_rows
from problems import refused

each_issuer = pytest.mark.parametrize("issuer", list(MAIL_SCOPE))


def with_query(url: str, **changes: str) -> str:
    """Return a URL with other values in its query."""
    parts = urlsplit(url)
    return parts._replace(query=urlencode(dict(parse_qsl(parts.query)) | changes)).geturl()


def is_no_state(answer: httpx.Response) -> bool:
    return answer.status_code == 400 and "used already, or took too long" in answer.text


async def expire(rig: ConnectRig) -> None:
    await rig.api.mail.connection.execute("UPDATE connect_flows SET expires_at = now()")


@each_issuer
async def test_a_state_is_good_once(connecting: ConnectRig, issuer: str) -> None:
    back = await connecting.browser.agree((await connecting.start(issuer))["consent_url"])

    first, second = await connecting.browser.open(back), await connecting.browser.open(back)

    assert told(first)["connect"] == "connected"
    assert is_no_state(second)


@each_issuer
async def test_a_code_is_good_once_even_with_a_state_of_its_own(
    connecting: ConnectRig, issuer: str
) -> None:
    """A code that somebody caught is worth nothing in another flow: PKCE's verifier is missing."""
    stolen = query_of(
        await connecting.browser.agree((await connecting.start(issuer))["consent_url"])
    )
    thief = await connecting.start(issuer, OTHER, tenant_id="other")
    state = query_of(thief["consent_url"])["state"]

    answer = await connecting.api.get(
        f"/providers/{issuer}/callback", None, params={"code": stolen["code"], "state": state}
    )

    assert told(answer)["reason"] == "code_refused"
    assert await connecting.accounts("other") == []


async def test_a_state_that_is_none_of_ours_opens_nothing(connecting: ConnectRig) -> None:
    for state in (None, "", "x", "é", "a" * 43, "A" * 10_000, "%00", "../.."):
        query = {"code": "4/code"} | ({} if state is None else {"state": state})

        answer = await connecting.api.get("/providers/google/callback", None, params=query)

        assert is_no_state(answer), state


@each_issuer
async def test_a_flow_that_is_over_opens_nothing(connecting: ConnectRig, issuer: str) -> None:
    back = await connecting.browser.agree((await connecting.start(issuer))["consent_url"])
    await expire(connecting)

    answer = await connecting.browser.open(back)

    assert told(answer)["reason"] == "expired"
    assert await connecting.accounts() == []
    assert sum(connecting.oauth.ledger.granted.values()) == 0


async def test_flows_that_are_over_are_swept_and_others_stay(connecting: ConnectRig) -> None:
    await connecting.start("google")
    await expire(connecting)
    await connecting.start("google")
    rig, later = connecting.api.mail, datetime.now(UTC) + timedelta(seconds=1)

    await remove_old_rows(rig.database, rig.settings.current.store.retention, now=later)

    assert len(await rig.rows("SELECT FROM connect_flows")) == 1


async def test_a_flow_ends_with_the_token_that_asked_for_it(connecting: ConnectRig) -> None:
    tokens = connecting.api.backend.tokens
    grant = Grant(Scope.TENANT, TenantId("acme"))
    await tokens.add("removed", token_hash(b"removed"), grant, expires_at=None)
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    await tokens.add("ending", token_hash(b"ending"), grant, expires_at=in_an_hour)
    backs = [
        await connecting.browser.agree((await connecting.start("google", token))["consent_url"])
        for token in ("removed", "ending")
    ]

    await tokens.remove("removed")
    await connecting.api.mail.connection.execute(
        "UPDATE api_tokens SET expires_at = now() WHERE name = 'ending'"
    )
    removed, ended = [await connecting.browser.open(back) for back in backs]

    assert is_no_state(removed)
    assert told(ended)["reason"] == "expired"
    assert await connecting.accounts() == []


@each_issuer
async def test_a_state_of_one_tenant_connects_to_no_other(
    connecting: ConnectRig, issuer: str
) -> None:
    """Whatever the browser says: the tenant is the one of the token that asked."""
    back = await connecting.browser.agree((await connecting.start(issuer, ACME))["consent_url"])

    await connecting.browser.open(with_query(back, tenant_id="other", tenant="other"))

    assert len(await connecting.accounts("acme")) == 1
    assert await connecting.accounts("other") == []


async def test_a_tenants_token_connects_its_own_tenant_and_its_own_accounts_only(
    connecting: ConnectRig,
) -> None:
    account = await connecting.account_with_mail("google")
    path, mine = "/providers/google/connect", {"provider_id": str(account["id"])}

    refused(await connecting.api.ask("POST", path, OTHER, json={"tenant_id": "acme"}), 403)
    for token in (OTHER, ADMIN):
        order = {"tenant_id": "other", **mine}
        refused(await connecting.api.ask("POST", path, token, json=order), 404)


async def test_two_tabs_do_not_disturb_each_other(connecting: ConnectRig) -> None:
    tabs = [await connecting.start(issuer, bind_browser=False) for issuer in MAIL_SCOPE]
    backs = [await connecting.browser.agree(tab["consent_url"]) for tab in tabs]

    answers = [told(await connecting.browser.open(back)) for back in reversed(backs)]

    assert [answer["connect"] for answer in answers] == ["connected"] * 2
    assert [answer["connect_id"] for answer in reversed(answers)] == [
        tab["connect_id"] for tab in tabs
    ]


async def test_a_flow_that_a_browser_began_is_finished_by_no_other(connecting: ConnectRig) -> None:
    """Somebody who sends his address to a victim gets no mailbox of the victim's."""
    order = {"tenant_id": "acme", "return_to": "/", "bind_browser": True}
    began = Browser()
    backs = []
    for _ in range(3):  # as in three tabs
        answer = await began.client.post(
            f"{connecting.api.url}/providers/google/connect",
            json=order,
            headers={"Authorization": f"Bearer {ADMIN}"},
        )
        backs.append(await began.agree(answer.json()["consent_url"]))

    other = told(await connecting.browser.open(backs[0]))
    own = [told(await began.open(back)) for back in backs[1:]]
    await began.client.aclose()

    cookie = answer.headers["set-cookie"]
    assert other["reason"] == "other_browser"
    assert [each["connect"] for each in own] == ["connected", "reconnected"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/providers/google/callback" in cookie


@each_issuer
async def test_a_verifier_that_was_tampered_with_redeems_nothing(
    connecting: ConnectRig, issuer: str
) -> None:
    back = await connecting.browser.agree((await connecting.start(issuer))["consent_url"])
    ((code, asked),) = connecting.oauth.ledger.codes.items()
    connecting.oauth.ledger.codes[code] = replace(asked, challenge="another" + asked.challenge[7:])

    assert told(await connecting.browser.open(back))["reason"] == "code_refused"
    assert await connecting.accounts() == []


async def test_what_is_stored_of_a_flow_finishes_none_without_the_key(
    connecting: ConnectRig,
) -> None:
    """Neither is the state in the table, nor the verifier, nor does a row serve another flow."""
    first, second = [await connecting.start("google", tenant_id=each) for each in ("acme", "other")]
    rows = await connecting.api.mail.rows("SELECT * FROM connect_flows ORDER BY tenant_id")
    shown = repr(rows)
    for started in (first, second):
        assert query_of(started["consent_url"])["state"] not in shown
    assert "/settings/mail" not in shown

    await connecting.api.mail.connection.execute(
        "UPDATE connect_flows SET sealed = $1 WHERE tenant_id = 'other'", rows[0]["sealed"]
    )
    back = await connecting.browser.agree(second["consent_url"])

    assert is_no_state(await connecting.browser.open(back))


async def test_an_answer_in_another_issuers_name_is_not_used(connecting: ConnectRig) -> None:
    """The mix-up attack (RFC 9700 section 4.4): a code is never sent to whom it is not from."""
    for issuer_told in (
        "https://attacker.example",
        "https://accounts.google.com",
        "",
        "http://127.0.0.1",
        "{oauth}/",
        "{oauth}.evil.example",
        "{oauth}@evil.example",
    ):
        consent_url = (await connecting.start("google"))["consent_url"]
        oauth = consent_url.partition("/google/")[0]
        connecting.oauth.ledger.answers_as = issuer_told.format(oauth=oauth)

        answer = await connecting.browser.connect(consent_url)

        assert told(answer)["reason"] == "mixed_up", issuer_told
    assert sum(connecting.oauth.ledger.granted.values()) == 0


async def test_microsofts_issuer_names_a_directory_behind_its_host(connecting: ConnectRig) -> None:
    consent_url = (await connecting.start("microsoft"))["consent_url"]
    oauth = consent_url.partition("/common/")[0]

    connecting.oauth.ledger.answers_as = f"{oauth}/{uuid.uuid4()}/v2.0"
    good = told(await connecting.browser.connect(consent_url))
    for told_issuer in (
        f"https://evil.example/{uuid.uuid4()}/v2.0",
        f"{oauth}.evil.example/{uuid.uuid4()}/v2.0",
        "https://[",
    ):
        consent_url = (await connecting.start("microsoft"))["consent_url"]
        connecting.oauth.ledger.answers_as = told_issuer
        evil = told(await connecting.browser.connect(consent_url))
        assert evil["reason"] == "mixed_up", told_issuer

    assert good["connect"] == "connected"


async def test_an_answer_at_the_other_issuers_address_is_not_used(connecting: ConnectRig) -> None:
    back = await connecting.browser.agree((await connecting.start("google"))["consent_url"])

    answer = await connecting.browser.open(back.replace("/google/", "/microsoft/"))

    assert told(answer)["reason"] == "mixed_up"
    assert sum(connecting.oauth.ledger.granted.values()) == 0


async def test_looking_ahead_uses_no_state_up(connecting: ConnectRig) -> None:
    """Mail scanners and browsers ask for the head of what they find."""
    back = await connecting.browser.agree((await connecting.start("google"))["consent_url"])

    looked = await connecting.browser.client.head(back)

    assert looked.status_code == 405
    assert told(await connecting.browser.open(back))["connect"] == "connected"


async def test_a_tenant_has_so_many_open_flows_and_no_more(connecting: ConnectRig) -> None:
    for _ in range(MOST_OPEN):
        await connecting.start("google", ACME)

    order = {"tenant_id": "acme"}
    one_more = await connecting.api.ask("POST", "/providers/google/connect", ACME, json=order)
    await connecting.start("google", OTHER, tenant_id="other")
    await expire(connecting)
    await connecting.start("google", ACME)

    refused(one_more, 429)
    assert int(one_more.headers["retry-after"]) > 0


class HeldIssuers:
    """Issuers that let browsers wait until a test lets them go."""

    def __init__(self) -> None:
        self.go_on = anyio.Event()
        self.all_asked = anyio.Event()  #: as many wait as are served at once
        self.asked = 0

    async def redeem(self, _consent: Consent, _code: Secret) -> Connected:
        """Wait, and fail."""
        self.asked += 1
        if self.asked == AT_ONCE:
            self.all_asked.set()
        await self.go_on.wait()
        raise Unreachable("held up")


async def test_whoever_guesses_states_is_put_off_and_a_browser_is_served(
    connecting: ConnectRig,
) -> None:
    """Some browsers are served at once and some wait; who comes on top is to come again."""
    api, held = connecting.api, HeldIssuers()
    api.backend = replace(api.backend, connector=held)
    backs = [
        await connecting.browser.agree((await connecting.start("google"))["consent_url"])
        for _ in range(AT_ONCE)
    ]
    statuses: Counter[int] = Counter()
    guess = f"{api.url}/providers/google/callback?state=guess"

    async def open_page(client: httpx.AsyncClient, url: str) -> None:
        statuses[(await client.get(url)).status_code] += 1
        if statuses[429] == 10:
            held.go_on.set()

    async with api.client(None) as client, anyio.create_task_group() as group:
        for back in backs:
            group.start_soon(open_page, client, back)
        await held.all_asked.wait()
        for _ in range(WAITING + 10):
            group.start_soon(open_page, client, guess)

    assert statuses == {303: AT_ONCE, 400: WAITING, 429: 10}


async def test_no_secret_of_a_flow_is_logged(connecting: ConnectRig) -> None:
    lines = io.StringIO()
    logs.configure(level="debug", form="json", stream=lines)
    seen: set[str] = set()
    for issuer in MAIL_SCOPE:
        for address, decision in ((ANN, "allow"), (BOB, "allow"), (ANN, "deny")):
            started = await connecting.start(issuer, email_address=ANN)
            url = started["consent_url"]
            back = await connecting.browser.agree(url, address, decision=decision)
            seen |= {query_of(url)["state"], query_of(url)["code_challenge"]}
            seen |= {query_of(back).get("code", ANN)}
            await connecting.browser.open(back)
            await connecting.browser.open(back)
    ledger = connecting.oauth.ledger
    seen |= {*ledger.access_tokens, *ledger.refresh_tokens, "Canary-client-secret", ANN, BOB}

    logged = lines.getvalue()

    assert '"account.connected"' in logged
    assert '"reason": "wrong_mailbox"' in logged
    assert not [secret for secret in seen if secret in logged]
