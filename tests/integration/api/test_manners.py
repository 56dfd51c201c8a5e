"""What all routes have in common: tokens, bodies, methods, conditional reads, a database away."""

import json
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from api_rig import ACME, ADMIN, ApiRig
from emailsync.api.dispatch import MAX_BODY_BYTES
from emailsync.api.paging import encode
from problems import refused

PUT = ("PUT", "/tenants/acme")


async def test_a_wrong_token_is_refused_and_soon_put_off_while_right_ones_go_on(
    api: ApiRig,
) -> None:
    """Behind a proxy all have one address: nobody may lock out the others by guessing."""
    assert (await api.get("/providers", ACME)).status_code == 200

    statuses = [(await api.get("/providers", f"guess {n}")).status_code for n in range(15)]
    put_off = await api.get("/providers", "another guess")

    assert statuses[:9] == [401] * 9
    assert statuses[-1] == 429
    assert int(put_off.headers["retry-after"]) > 0
    refused(put_off, 429)
    assert (await api.get("/providers", ADMIN)).status_code == 200
    assert (await api.get("/providers", ACME)).status_code == 200


async def test_a_removed_token_opens_nothing_from_the_next_request_on(api: ApiRig) -> None:
    assert (await api.get("/providers", ACME)).status_code == 200

    await api.backend.tokens.remove(ACME)

    refused(await api.get("/providers", ACME), 401)


async def test_only_hashes_of_tokens_are_stored(api: ApiRig) -> None:
    rows = await api.mail.rows("SELECT sha256 FROM api_tokens")

    assert len(rows) == 3
    assert ACME not in repr(rows)


@pytest.mark.parametrize("query", ["token=", "access_token="])
async def test_a_token_in_an_address_is_none(api: ApiRig, query: str) -> None:
    refused(await api.get(f"/providers?{query}{ADMIN}", token=None), 401)


async def test_the_admins_token_works_without_the_database_and_others_come_back_later(
    api: ApiRig,
) -> None:
    api.is_away = True

    assert (await api.get("/health")).status_code == 200
    assert (await api.get("/health/metrics", ADMIN)).status_code == 200
    for path, token in (("/providers", ADMIN), ("/health/metrics", ACME)):
        response = await api.get(path, token)
        refused(response, 503)
        assert int(response.headers["retry-after"]) > 0


async def test_an_unchanged_answer_is_not_sent_twice(api: ApiRig) -> None:
    first = await api.get("/providers")
    known = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}

    again = await api.get("/providers", headers=known)
    await api.ask("POST", f"{api.account}/pause")
    changed = await api.get("/providers", headers=known)

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert changed.status_code == 200


async def test_a_head_is_a_get_without_its_body(api: ApiRig) -> None:
    response = await api.ask("HEAD", "/providers")

    assert (response.status_code, response.content) == (200, b"")
    assert "etag" in response.headers


async def test_another_method_is_refused_by_the_names_of_the_right_ones(api: ApiRig) -> None:
    response = await api.ask("DELETE", "/providers")

    refused(response, 405)
    assert response.headers["allow"] == "GET, HEAD, POST"
    refused(await api.ask("DELETE", "/providers", token=None), 401)


async def test_a_body_is_json_and_says_so(api: ApiRig) -> None:
    """A form that another site lets a browser post is none."""
    form = await api.ask(*PUT, data={"plan": "premium"})
    text = await api.ask(*PUT, content=b"{}", headers={"Content-Type": "text/plain"})
    broken = await api.ask(*PUT, content=b"{", headers={"Content-Type": "application/json"})
    binary = await api.ask(*PUT, content=b"\xff", headers={"Content-Type": "application/json"})
    typed = await api.ask(
        *PUT, content=b"{}", headers={"Content-Type": "application/json; charset=utf-8"}
    )

    assert [each.status_code for each in (form, text, broken, binary, typed)] == [
        415,
        415,
        422,
        422,
        200,
    ]


@pytest.mark.parametrize("surrogate", [r"\ud800", r"\udfff\ud800"])
async def test_half_a_character_is_no_text(api: ApiRig, surrogate: str) -> None:
    body = f'{{"plan": "{surrogate}"}}'.encode()

    refused(await api.ask(*PUT, content=body, headers={"Content-Type": "application/json"}), 422)


async def test_a_body_that_is_too_large_is_not_read_to_its_end(api: ApiRig) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 100 * MAX_BODY_BYTES:
            sent += 65_536
            yield b" " * 65_536

    headers = {"Content-Type": "application/json"}
    try:
        response = await api.ask(*PUT, content=endless(), headers=headers)
    except httpx.TransportError:
        pass  # it was cut off while it was still sending
    else:
        refused(response, 413)
    exact = json.dumps({"plan": "x"}).encode().ljust(MAX_BODY_BYTES)

    assert sent < 50 * MAX_BODY_BYTES
    assert (await api.ask(*PUT, content=exact, headers=headers)).status_code == 200
    refused(await api.ask(*PUT, content=exact + b" ", headers=headers), 413)


async def test_no_error_repeats_what_was_sent(api: ApiRig) -> None:
    secret = "hunter2" * 3

    for body in (
        {"credentials": {"password": secret, secret: secret}},
        {"credentials": secret},
        {"credentials": {"password": [secret]}},
    ):
        response = await api.ask("PATCH", api.account, json=body)
        refused(response, 422)
        assert f'"{secret}"' not in response.text.replace(f".{secret}", "")


async def test_a_redirect_is_never_made_of_a_host_header(api: ApiRig) -> None:
    response = await api.get("/providers/", headers={"Host": "attacker.test"})

    refused(response, 404)
    assert "location" not in response.headers


@pytest.mark.parametrize("root", ["/email-config", "/email-configs"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_the_retired_api_says_where_to_go(api: ApiRig, root: str, method: str) -> None:
    for path in (root, f"{root}/", f"{root}/17/test", f"{root}?limit=1", f"{root}/%ff%00"):
        response = await api.ask(method, path)

        assert "/providers" in refused(response, 410)["detail"]
        assert "/providers" in response.headers["link"]


async def test_what_is_no_http_harms_nobody(api: ApiRig) -> None:
    address = urlsplit(api.url)
    for garbage in (b"\x16\x03\x01\x02\x00", b"GET /\xff HTTP/1.1\r\n\r\n", b"GET"):
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            connection.sendall(garbage)

    assert (await api.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/providers", ("a\0b", str(UUID(int=0)))),
        ("/providers", ("", str(UUID(int=0)))),
        ("/providers", ("acme", "x")),
        ("/tenants", ("a\0b",)),
        ("/tenants", (1,)),
        ("/tenants/acme/messages", ("2026-01-01T00:00:00", 1)),
        ("/tenants/acme/messages", ("2026-01-01T00:00:00Z", 2**63)),
    ],
)
async def test_a_cursor_that_somebody_made_is_refused(
    api: ApiRig, path: str, key: Sequence[object]
) -> None:
    refused(await api.get(path, params={"cursor": encode(key)}), 422)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_cursor_of_the_ends_of_time_is_one(api: ApiRig, moment: str) -> None:
    cursor = encode((moment, 1))

    listed = await api.get("/tenants/acme/messages", params={"cursor": cursor})

    assert listed.status_code == 200
