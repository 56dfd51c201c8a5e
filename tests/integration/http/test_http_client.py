"""The HTTP client over real sockets: what may go out, to whom, and how long it may take."""

import io
import logging
import socket
import ssl
import time

import anyio
import pytest
import trustme

from emailsync import logs
from emailsync.crypto import Secret
from emailsync.domain.errors import AuthUnproven, ServerRefused, Unreachable
from emailsync.providers.http_client import HttpClient
from emailsync.providers.http_messages import AnswerTooLarge, ApiRequest
from scripted_http import Exchange, scripted

TOKEN = Secret("ya29.canary-token")
GET = ApiRequest("GET", "/v1.0/me")


async def ok(exchange: Exchange) -> None:
    await exchange.answer(body=b'{"ok": true}')


# What is asked


async def test_a_request_carries_what_was_asked_and_nothing_of_the_machine() -> None:
    async with scripted(ok) as server, HttpClient(server.url + "/prefix/") as client:
        request = ApiRequest(
            "POST",
            "/v1.0/$batch?a=%2F",
            params=[("labelIds", "INBOX"), ("labelIds", "UNREAD")],
            headers={"Prefer": 'IdType="ImmutableId"'},
            content=b"{}",
        )
        await client.send(request, bearer=TOKEN)
    asked = server.exchanges[0]

    assert asked.target == "/prefix/v1.0/$batch?a=%2F&labelIds=INBOX&labelIds=UNREAD"
    assert asked.body == b"{}"
    assert asked.header("authorization") == "Bearer ya29.canary-token"
    assert asked.header("prefer") == 'IdType="ImmutableId"'
    assert asked.header("accept-encoding") == "gzip"
    assert "gzip" in (asked.header("user-agent") or "")


async def test_a_link_of_the_provider_is_asked_as_it_was_given() -> None:
    async with scripted(ok) as server, HttpClient(server.url) as client:
        link = "/v1.0/me/mailFolders('AQ')/messages/delta?$deltatoken=a%2Fb%3D=&$skip=1"
        await client.send(ApiRequest("GET", server.url + link), bearer=TOKEN)

        assert server.exchanges[0].target == link


async def test_answers_set_no_cookies_for_the_next_account() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(set_cookie="session=of-the-first-account; Path=/")

    async with scripted(script) as server, HttpClient(server.url) as client:
        await client.send(GET, bearer=TOKEN)
        await client.send(GET, bearer=TOKEN)

        assert [exchange.header("cookie") for exchange in server.exchanges] == [None, None]


async def test_connections_are_kept_for_the_next_account() -> None:
    async with scripted(ok) as server, HttpClient(server.url) as client:
        for _ in range(5):
            await client.send(GET, bearer=TOKEN)

        assert {exchange.connection for exchange in server.exchanges} == {1}


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced_unnoticed() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer()
        exchange.hang_up()

    async with scripted(script) as server, HttpClient(server.url) as client:
        await client.send(GET, bearer=TOKEN)
        await server.exchanges[0].writer.wait_closed()
        await client.send(GET, bearer=TOKEN)

        assert [exchange.connection for exchange in server.exchanges] == [1, 2]


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(ok) as proxy, scripted(ok) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with HttpClient(server.url) as client:
            await client.send(GET, bearer=TOKEN)

        assert len(server.exchanges) == 1
        assert not proxy.exchanges


# Where a token may go


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    async with scripted(ok) as elsewhere:

        async def script(exchange: Exchange) -> None:
            await exchange.answer(status, location=elsewhere.url + "/v1.0/me")

        async with scripted(script) as server, HttpClient(server.url) as client:
            answer = await client.send(GET, bearer=TOKEN)

            assert answer.status == status
            assert not elsewhere.exchanges


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1:{other}/v1.0/me",
        "https://127.0.0.1:{port}/v1.0/me",
        "HTTPS://127.0.0.1:{port}/v1.0/me",
        "http://localhost:{other}/v1.0/me",
        "http://127.0.0.1:{port}@127.0.0.1:{other}/v1.0/me",
        "http://user@127.0.0.1:{port}/v1.0/me",
        "http://user:password@127.0.0.1:{port}/v1.0/me",
        "http://127.0.0.1.example.test:{port}/v1.0/me",
        "http://2130706433:{port}/v1.0/me",
        "http://127.0.0.1./v1.0/me",
        "http://127.0.0.1/v1.0/me",
        "http:v1.0/me",
        "ftp://127.0.0.1:{port}/v1.0/me",
        "127.0.0.1:{other}/v1.0/me",
        "v1.0/me",
        "\\\\127.0.0.1:{other}/v1.0/me",
        "@127.0.0.1:{other}/v1.0/me",
        ":{other}/v1.0/me",
        "http://[::1/v1.0/me",
        "http://127.0.0.1:{port}/\x00",
        "http://127.0.0.1:99999999/v1.0/me",
        "",
    ],
)
async def test_a_link_to_another_place_gets_no_request_and_no_token(link: str) -> None:
    async with scripted(ok) as elsewhere, scripted(ok) as server, HttpClient(server.url) as client:
        link = link.format(port=server.port, other=elsewhere.port)

        with pytest.raises(ServerRefused) as refused:
            await client.send(ApiRequest("GET", link), bearer=TOKEN)

        assert not server.exchanges
        assert not elsewhere.exchanges
        assert str(elsewhere.port) not in refused.value.message


@pytest.mark.parametrize("path", ["//{elsewhere}/v1.0/me", "/\\{elsewhere}/me", "/@{elsewhere}/"])
async def test_a_path_stays_on_the_configured_host_whatever_it_looks_like(path: str) -> None:
    async with scripted(ok) as elsewhere, scripted(ok) as server, HttpClient(server.url) as client:
        path = path.format(elsewhere=f"127.0.0.1:{elsewhere.port}")

        await client.send(ApiRequest("GET", path), bearer=TOKEN)

        assert len(server.exchanges) == 1
        assert not elsewhere.exchanges


@pytest.mark.parametrize("token", ["", "two words", "a\r\nX-Injected: 1", "ключ", "a\x00", "a\n"])
async def test_what_cannot_be_a_token_is_not_sent(token: str) -> None:
    async with scripted(ok) as server, HttpClient(server.url) as client:
        with pytest.raises(AuthUnproven):
            await client.send(GET, bearer=Secret(token))

        assert not server.exchanges


# What may go wrong


async def test_a_server_that_drips_meets_the_deadline() -> None:
    """Each byte comes within the silence that is allowed; the whole never would."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        await exchange.drip(b"{")

    async with scripted(script) as server, HttpClient(server.url) as client:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="within"):
            await client.send(GET, deadline_s=0.2)

    assert time.monotonic() - began < 2


async def test_a_port_where_nobody_listens_is_an_unreachable_server() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    async with HttpClient(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(Unreachable, match="no connection"):
            await client.send(GET)


async def test_a_certificate_that_nobody_vouches_for_ends_before_the_token_is_sent() -> None:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    async with scripted(ok, context) as server, HttpClient(server.url) as client:
        with pytest.raises(Unreachable, match="TLS"):
            await client.send(GET, bearer=TOKEN)

        assert not server.exchanges


async def test_a_cancelled_request_leaves_the_client_usable() -> None:
    async def script(exchange: Exchange) -> None:
        if len(server.exchanges) > 1:
            await ok(exchange)

    async with scripted(script) as server, HttpClient(server.url) as client:
        with anyio.move_on_after(0.1):
            await client.send(GET)
        answer = await client.send(GET)

    assert answer.json() == {"ok": True}


# What is logged


async def test_neither_token_nor_url_nor_mail_reaches_the_log() -> None:
    """Left alone, httpx logs each URL at INFO and httpcore each header at DEBUG."""
    lines = io.StringIO()
    root = logging.getLogger()
    before = root.handlers, root.level

    async def script(exchange: Exchange) -> None:
        await exchange.answer(body=b'{"subject": "canary-mail"}', x_token="canary-header")

    try:
        logs.configure(level="debug", form="json", stream=lines)
        root.setLevel(logging.DEBUG)
        async with scripted(script) as server, HttpClient(server.url) as client:
            await client.send(ApiRequest("GET", "/canary-path?q=canary-query"), bearer=TOKEN)
            with pytest.raises(AnswerTooLarge) as failed:
                await client.send(GET, bearer=TOKEN, max_bytes=1)
        logging.getLogger("emailsync").error("failed", exc_info=failed.value)
    finally:
        root.handlers, root.level = before

    assert "failed" in lines.getvalue()
    assert "canary" not in lines.getvalue()
