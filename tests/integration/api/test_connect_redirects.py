"""Where browsers are sent when a mailbox is connected: nowhere but where they may be (CWE-601)."""

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from connect_rig import APP, MAIL_SCOPE, ConnectRig, told
from problems import refused

PAYLOADS = [
    line.encode("latin-1", "backslashreplace").decode("unicode_escape")
    for line in (Path(__file__).parent / "return_to_payloads.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
each_issuer = pytest.mark.parametrize("issuer", list(MAIL_SCOPE))


async def test_a_browser_is_sent_nowhere_else(connecting: ConnectRig) -> None:
    accepted = []
    async with connecting.api.client() as client:
        for return_to in PAYLOADS:
            order = {"tenant_id": "acme", "return_to": return_to}
            answer = await client.post("/providers/google/connect", json=order)
            if answer.status_code != 422:
                accepted.append(return_to)
            else:
                assert refused(answer, 422)["errors"][0]["where"] == "body.return_to"

    assert len(PAYLOADS) > 40
    assert accepted == []


async def test_where_a_browser_may_be_sent_it_is_sent(connecting: ConnectRig) -> None:
    for return_to in ("/", "/a", "/a/b-c/", "/a?x=1&y=2", "/#/accounts", "/a?x=1#part", APP):
        started = await connecting.start("google", return_to=return_to)
        answer = await connecting.browser.connect(started["consent_url"])

        given, sent = urlsplit(return_to), urlsplit(answer.headers["location"])
        base = urlsplit(connecting.api.url if return_to.startswith("/") else return_to)
        assert (sent.scheme, sent.netloc) == (base.scheme, base.netloc)
        assert (sent.path, sent.fragment) == (given.path, given.fragment)
        assert dict(parse_qsl(given.query)).items() <= told(answer).items()


async def test_a_place_that_is_no_longer_allowed_is_not_gone_to(connecting: ConnectRig) -> None:
    started = await connecting.start("google", return_to=APP)
    connecting.configure(return_to_allowed=())

    answer = await connecting.browser.connect(started["consent_url"])

    assert answer.status_code == 200
    assert "is connected" in answer.text


@each_issuer
async def test_the_host_that_a_request_names_changes_nothing(
    connecting: ConnectRig, issuer: str
) -> None:
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    async with connecting.api.client() as client:
        order = {"tenant_id": "acme", "return_to": "/settings/mail"}
        started = await client.post(f"/providers/{issuer}/connect", json=order, headers=headers)
        back = await connecting.browser.agree(started.json()["consent_url"])
        answer = await client.get(back, headers=headers)

    assert back.startswith(connecting.api.url)
    assert answer.headers["location"].startswith(f"{connecting.api.url}/settings/mail?")
