"""Tens of thousands of tiny answers at one go: others have their turn, and no answer is lost."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trustme

from emailsync.domain.errors import Unreachable
from emailsync.providers.imap.account_settings import Security
from emailsync.providers.imap.answers import Exists
from emailsync.providers.imap.dialling import dial
from emailsync.providers.imap.protocol import ANSWERS_AT_ONCE, ImapProtocol
from imap_server import IMPATIENT, Dialogue, scripted_server

FLOOD = 20_000
STAYS = b"* OK all\r\n"  #: what ends with this is no end of the connection
COUNTED = "".join(f"* {number} EXISTS\r\n" for number in range(1, FLOOD + 1)).encode()


@pytest.fixture(scope="module")
def certificate() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's end, and the client's."""
    authority = trustme.CA()
    server, client = (
        ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@asynccontextmanager
async def flooded(
    security: Security, certificate: tuple[ssl.SSLContext, ssl.SSLContext], end: bytes
) -> AsyncIterator[ImapProtocol]:
    """Yield a connection on which a NOOP brings the flood and `end`, and is then closed."""
    its_end, our_end = certificate

    async def script(server: Dialogue) -> None:
        await server.send("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready")
        if security is Security.STARTTLS:
            await server.expect("STARTTLS")
            # As many as fit into one turn, and the last one is the answer that begins TLS.
            before = COUNTED.splitlines(keepends=True)[: ANSWERS_AT_ONCE - 1]
            await server.send_bytes(b"".join(before) + f"{server.tag} OK go\r\n".encode())
            await server.start_tls(its_end)
            await server.play("C: CAPABILITY\nS: * CAPABILITY IMAP4rev1\nS: {tag} OK done")
        await server.expect("NOOP")
        await server.send_bytes(COUNTED + end.replace(b"{tag}", server.tag.encode()))
        if not end.startswith(STAYS):
            server.writer.close()

    tls = its_end if security is Security.TLS else None
    async with scripted_server(script, tls=tls) as server:
        protocol = await dial(server.target(security, tls_context=our_end), IMPATIENT)
        try:
            yield protocol
        finally:
            await protocol.hang_up()


def is_count(answer: object) -> bool:
    return isinstance(answer, Exists)


@pytest.mark.parametrize("security", list(Security))
async def test_all_that_came_before_the_end_is_there_once(
    security: Security, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Even when the server closes the connection right behind it."""
    async with flooded(security, certificate, b"{tag} OK done\r\n") as protocol:
        command = await protocol.run("NOOP", wants=is_count)

        assert protocol.take(command) == [Exists(number) for number in range(1, FLOOD + 1)]


@pytest.mark.parametrize("security", list(Security))
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (b"", "closed the connection"),
        (b"* 1 EXI", "closed the connection"),
        (b"other OK done\r\n", "not asked"),
        (b"* BYE see you\r\n", "see you"),
    ],
)
async def test_a_flood_without_its_end_fails_at_once(
    security: Security,
    certificate: tuple[ssl.SSLContext, ssl.SSLContext],
    end: bytes,
    reason: str,
) -> None:
    async with flooded(security, certificate, end) as protocol:
        with pytest.raises(Unreachable, match=reason):
            await protocol.run("NOOP", wants=is_count)


@pytest.mark.parametrize("security", list(Security))
async def test_others_have_their_turn_within_a_flood(
    security: Security, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """However much comes with one read: 256 KiB are twenty thousand such answers."""
    async with flooded(security, certificate, STAYS + b"{tag} OK done\r\n") as protocol:
        command = protocol.begin("NOOP")
        seen = [protocol.exists]
        while command.condition is None:
            assert protocol.failure is None
            await asyncio.sleep(0)
            seen.append(max(seen[-1], protocol.exists))

    steps = [after - before for before, after in pairwise(seen)]
    assert max(steps) <= ANSWERS_AT_ONCE
    assert seen[-1] == FLOOD
