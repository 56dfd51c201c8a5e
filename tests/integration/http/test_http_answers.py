"""What an HTTP server may answer over a real socket: how much of it, in what form, how complete."""

import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from emailsync.domain.errors import Retryable, ServerRefused, Unreachable
from emailsync.providers.http_body import read_body
from emailsync.providers.http_client import HttpClient
from emailsync.providers.http_messages import AnswerTooLarge, ApiRequest
from scripted_http import Exchange, scripted

GET = ApiRequest("GET", "/v1.0/me")
MB = 1024 * 1024


def bomb(size: int, block: int = MB) -> bytes:
    """Return `size` bytes of zeros, compressed as far as gzip goes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    zeros = bytes(block)
    return b"".join(packer.compress(zeros) for _ in range(size // block)) + packer.flush()


# How much may come back


async def test_a_compressed_answer_is_expanded() -> None:
    body = b'{"value": "' + b"mail " * 100_000 + b'"}'

    async def script(exchange: Exchange) -> None:
        await exchange.answer(body=gzip.compress(body), content_encoding="gzip")

    async with scripted(script) as server, HttpClient(server.url) as client:
        answer = await client.send(GET)

    assert answer.body == body


async def test_a_gzip_bomb_is_refused_before_it_fills_the_memory() -> None:
    packed = bomb(256 * MB)

    async def script(exchange: Exchange) -> None:
        await exchange.answer(body=packed, content_encoding="gzip")

    async with scripted(script) as server, HttpClient(server.url) as client:
        tracemalloc.start()
        with pytest.raises(AnswerTooLarge):
            await client.send(GET, max_bytes=4 * MB)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak < 16 * MB


async def test_a_gzip_bomb_does_not_hold_up_everybody_else() -> None:
    """64 KiB on the wire are 64 MiB in memory, and a quarter of a second of this thread."""
    packed, turns = bomb(32 * MB), 0

    async def chunks() -> AsyncIterator[bytes]:
        yield packed

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(others, name="everybody else")
        await read_body(chunks(), encoding="gzip", max_bytes=32 * MB, server="a.test")
        group.cancel_scope.cancel()

    assert turns >= 30


async def test_json_that_would_hold_everybody_up_is_not_read() -> None:
    """A second and half a gigabyte of memory, for 18 MB of empty lists."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(body=b'{"value": [' + b"[]," * (18 * MB // 3) + b"[]]}")

    async with scripted(script) as server, HttpClient(server.url) as client:
        with pytest.raises(AnswerTooLarge, match="values"):
            await client.send(GET)


@pytest.mark.parametrize("encoding", ["gzip, gzip", "deflate", "br", "zstd", "compress", "x"])
async def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    """Each further layer of gzip would multiply a bomb by a thousand."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(body=gzip.compress(bomb(MB)), content_encoding=encoding)

    async with scripted(script) as server, HttpClient(server.url) as client:
        with pytest.raises(ServerRefused, match="did not ask for"):
            await client.send(GET)


async def test_fifty_megabytes_of_json_are_refused_by_their_announced_length() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n[" % (50 * MB)
        )

    async with scripted(script) as server, HttpClient(server.url) as client:
        with pytest.raises(AnswerTooLarge):
            await client.send(GET)


async def test_fifty_megabytes_of_json_without_a_length_are_refused_at_the_limit() -> None:
    sent = 0

    async def script(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(50):
            await exchange.send(b"100000\r\n" + b" " * MB + b"\r\n")
            sent += MB
        await exchange.send(b"0\r\n\r\n")

    async with scripted(script) as server, HttpClient(server.url) as client:
        with pytest.raises(AnswerTooLarge):
            await client.send(GET, max_bytes=4 * MB)

    assert sent < 50 * MB


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    async def script(exchange: Exchange) -> None:
        packed = gzip.compress(bytes(MB))
        await exchange.answer(body=packed, content_encoding="gzip")

    async with scripted(script) as server, HttpClient(server.url) as client:
        assert len((await client.send(GET, max_bytes=MB)).body) == MB
        with pytest.raises(AnswerTooLarge):
            await client.send(GET, max_bytes=MB - 1)


async def test_after_an_answer_that_was_too_large_the_next_request_gets_its_own() -> None:
    async def script(exchange: Exchange) -> None:
        large = len(server.exchanges) == 1
        await exchange.answer(body=b" " * MB if large else b'{"mine": true}')

    async with scripted(script) as server, HttpClient(server.url) as client:
        with pytest.raises(AnswerTooLarge):
            await client.send(GET, max_bytes=MB // 2)
        answer = await client.send(GET)

    assert answer.json() == {"mine": True}
    assert [exchange.connection for exchange in server.exchanges] == [1, 2]


# What is none, or not whole


async def test_an_html_page_with_status_200_is_no_answer() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(body=b"<html>Sign in</html>", kind="text/html")

    async with scripted(script) as server, HttpClient(server.url) as client:
        answer = await client.send(GET)

        with pytest.raises(Retryable):
            answer.json()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"* OK IMAP4rev1 ready\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"",
    ],
)
async def test_an_answer_that_is_cut_short_or_not_http_is_an_unreachable_server(raw: bytes) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(raw)
        exchange.hang_up()

    async with scripted(script) as server, HttpClient(server.url) as client:
        with pytest.raises(Unreachable):
            await client.send(GET)


@pytest.mark.parametrize("cut", [1, 10, 200])
async def test_a_compressed_answer_that_is_cut_short_is_never_taken_for_whole(cut: int) -> None:
    """Its length is right and its gzip is not: a proxy that gave up, and httpx would not notice."""
    packed = gzip.compress(b'{"value": [' + b"1, " * 10_000, mtime=0)

    async def script(exchange: Exchange) -> None:
        await exchange.answer(
            body=packed[: len(packed) - min(cut, len(packed) - 1)], content_encoding="gzip"
        )

    async with scripted(script) as server, HttpClient(server.url) as client:
        with pytest.raises(ServerRefused, match="damaged"):
            await client.send(GET)


@pytest.mark.parametrize(
    "body", [b"no gzip at all", gzip.compress(b"{}", mtime=0) + b"more", b"\x1f\x8b"]
)
async def test_damaged_gzip_is_refused(body: bytes) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(body=body, content_encoding="gzip")

    async with scripted(script) as server, HttpClient(server.url) as client:
        with pytest.raises(ServerRefused, match="damaged"):
            await client.send(GET)


async def test_an_answer_without_a_body_is_whole() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 204 No Content\r\ncontent-encoding: gzip\r\n\r\n")

    async with scripted(script) as server, HttpClient(server.url) as client:
        answer = await client.send(GET)

    assert (answer.status, answer.body) == (204, b"")
