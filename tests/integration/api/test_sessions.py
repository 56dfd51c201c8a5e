"""A browser's session: begun by a token, good for what the token is, and over when that is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from api_rig import ACME, ADMIN, METRICS, ApiRig
from clock import SettableClock
from emailsync.api.dashboard import POLICY
from emailsync.api.sessions import LIFE_S, REMEMBERED, Sessions
from emailsync.crypto import token_hash
from emailsync.domain.access import Grant, Scope
from problems import refused

OURS = {"X-Emailsync-Dashboard": "1"}


@asynccontextmanager
async def logged_in(api: ApiRig, token: str = ADMIN) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that keeps cookies, as a browser does."""
    async with api.client(token=None) as browser:
        answer = await browser.post("/session", json={"token": token})
        assert answer.status_code == 200, answer.text
        yield browser


async def test_a_token_is_shown_once_and_the_cookie_does_the_rest(api: ApiRig) -> None:
    async with logged_in(api) as browser:
        who = (await browser.get("/session")).json()
        accounts = await browser.get("/providers")
        paused = await browser.post(f"{api.account}/pause", headers=OURS)

    assert who == {"scope": "admin", "tenant_id": None}
    assert (accounts.status_code, paused.json()["status"]) == (200, "paused")


async def test_no_script_and_no_other_site_gets_at_the_cookie(api: ApiRig) -> None:
    async with api.client(token=None) as browser:
        begun = await browser.post("/session", json={"token": ADMIN})

    cookie = begun.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert ADMIN not in cookie + begun.text
    assert begun.headers["cache-control"] == "no-store"


async def test_behind_https_the_cookie_is_sent_by_nothing_else(clock: SettableClock) -> None:
    response = Response()

    Sessions(clock, is_secure=True).begin(b"hash", response)

    assert response.headers["set-cookie"].startswith("__Host-emailsyncd=")
    assert "Secure" in response.headers["set-cookie"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_what_another_site_makes_a_browser_send_changes_nothing(
    api: ApiRig, method: str
) -> None:
    """It sends the cookie where SameSite lets it, from another port of this host, say."""
    path = {"POST": f"{api.account}/pause", "PUT": "/tenants/acme"}.get(method, api.account)
    async with logged_in(api) as browser:
        refused(await browser.request(method, path, json={}), 403)
        account = (await browser.get(api.account)).json()

    assert account["status"] == "active"


async def test_a_tenants_session_sees_what_its_token_does(api: ApiRig) -> None:
    async with logged_in(api, ACME) as browser:
        who = (await browser.get("/session")).json()
        overview = (await browser.get("/overview")).json()
        tenants = await browser.get("/tenants")

    assert who == {"scope": "tenant", "tenant_id": "acme"}
    assert overview["daemon"] is None
    refused(tenants, 403)


async def test_a_token_for_the_metrics_opens_no_dashboard_and_is_told_which_does(
    api: ApiRig,
) -> None:
    answer = await api.ask("POST", "/session", token=None, json={"token": METRICS})

    assert "admin or tenant" in refused(answer, 403)["detail"]
    assert "set-cookie" not in answer.headers


async def test_wrong_tokens_are_put_off_however_they_are_shown(api: ApiRig) -> None:
    for number in range(10):
        guess = {"token": f"guess {number}"}
        refused(await api.ask("POST", "/session", token=None, json=guess), 401)

    refused(await api.ask("POST", "/session", token=None, json={"token": "another"}), 429)
    refused(await api.get("/providers", "another"), 429)
    async with logged_in(api) as browser:
        assert (await browser.get("/providers")).status_code == 200


async def test_what_others_guess_puts_off_an_expired_token_and_no_right_one(
    api: ApiRig,
) -> None:
    """Behind a proxy they have one address; the right one was not used since the start."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    grant = Grant(Scope.ADMIN)
    await api.backend.tokens.add("over", token_hash(b"over"), grant, expires_at=past)
    for number in range(10):
        refused(await api.get("/providers", f"guess {number}"), 401)

    refused(await api.get("/providers", "over"), 429)
    assert (await api.get("/providers", ACME)).status_code == 200


async def test_a_session_ends_with_its_token(api: ApiRig) -> None:
    async with logged_in(api, ACME) as browser:
        await api.backend.tokens.remove(ACME)

        refused(await browser.get("/providers"), 401)
        assert (await browser.get("/session")).json() == {"scope": None, "tenant_id": None}


async def test_whoever_logs_out_is_out_even_with_a_copy_of_the_cookie(api: ApiRig) -> None:
    async with logged_in(api) as browser:
        copied = {"Cookie": "; ".join(f"{each.name}={each.value}" for each in browser.cookies.jar)}
        ended = await browser.delete("/session")

        assert (ended.status_code, dict(browser.cookies)) == (204, {})
        refused(await api.get("/providers", token=None, headers=copied), 401)


def request_with(response: Response) -> Request:
    """Return a request that brings a response's cookie along."""
    cookie = response.headers["set-cookie"].partition(";")[0]
    return Request({"type": "http", "headers": [(b"cookie", cookie.encode())]})


def begun(sessions: Sessions, shown: bytes) -> Request:
    response = Response()
    sessions.begin(shown, response)
    return request_with(response)


def test_a_session_ends_after_a_working_day(clock: SettableClock) -> None:
    sessions = Sessions(clock, is_secure=False)
    request = begun(sessions, b"hash")

    clock.advance(timedelta(seconds=LIFE_S - 1))
    before = sessions.shown_by(request)
    clock.advance(timedelta(seconds=1))

    assert (before, sessions.shown_by(request)) == (b"hash", None)


def test_the_oldest_of_too_many_sessions_is_forgotten(clock: SettableClock) -> None:
    sessions = Sessions(clock, is_secure=False)
    oldest, second = begun(sessions, b"oldest"), begun(sessions, b"second")

    for number in range(REMEMBERED - 1):
        begun(sessions, b"another %d" % number)

    assert (sessions.shown_by(oldest), sessions.shown_by(second)) == (None, b"second")


def test_a_token_that_logs_in_again_and_again_ends_no_session_but_its_own(
    clock: SettableClock,
) -> None:
    sessions = Sessions(clock, is_secure=False)
    others, first = begun(sessions, b"others"), begun(sessions, b"busy")
    still_there = sessions.shown_by(first)

    for _ in range(REMEMBERED):
        last = begun(sessions, b"busy")

    assert still_there == sessions.shown_by(last) == b"busy"
    assert (sessions.shown_by(first), sessions.shown_by(others)) == (None, b"others")


async def test_the_page_and_its_files_come_with_a_policy_that_lets_nothing_else_in(
    api: ApiRig,
) -> None:
    types = {
        "/": "text/html; charset=utf-8",
        "/dashboard/main.js": "text/javascript; charset=utf-8",
        "/dashboard/theme.css": "text/css; charset=utf-8",
    }

    for path, media_type in types.items():
        answer = await api.get(path, token=None)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == media_type
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
    assert POLICY == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
    for path in ("/dashboard/nothing.js", "/dashboard/index.css", "/dashboard/..%2Fapp.js"):
        refused(await api.get(path, token=None), 404)
