"""Thousands of small answers at once, on the daemon's event loop: all come; nobody is held up."""

import asyncio
import ssl
from collections import Counter
from typing import Any

import pytest
import trustme
import uvloop

from emailsync.domain.uid_set import UidSet
from emailsync.providers.imap.account_settings import Security
from emailsync.providers.imap.connection import connect
from emailsync.providers.imap.protocol import ANSWERS_AT_ONCE
from imap_server import IMPATIENT, LOGIN, Dialogue, Script, scripted_server

MESSAGES = 30_000
CHATTER = ["* OK still here"] * (2 * ANSWERS_AT_ONCE)


def flags(uid: int) -> str:
    return f"* {uid} FETCH (UID {uid} FLAGS (\\Seen))"


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the server's and the client's."""
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(trusting)
    return serving, trusting


def talkative(security: Security, serving: ssl.SSLContext) -> Script:
    """Return the script of a server that says more than it need, and all of it at once."""

    async def script(server: Dialogue) -> None:
        if security is Security.STARTTLS:
            await server.play("""
                S: * OK [CAPABILITY IMAP4rev1 STARTTLS] ready
                C: STARTTLS
            """)
            await server.send(*CHATTER, "{tag} OK begin")
            await server.start_tls(serving)
            await server.expect("CAPABILITY")
            await server.send("* CAPABILITY IMAP4rev1", "{tag} OK done")
            await server.expect('LOGIN "user" "secret"')
            await server.send("{tag} OK [CAPABILITY IMAP4rev1] in")
        else:
            await server.log_in()
        await server.open_folder(MESSAGES)
        await server.expect(f"UID FETCH 1:{MESSAGES} (UID FLAGS)")
        await server.send(*map(flags, range(1, MESSAGES + 1)), "{tag} OK done")
        await server.expect("LOGOUT")
        await server.send(*CHATTER, "* BYE see you", "{tag} OK done")
        await server.silence()

    return script


class Rounds:
    """Counts the rounds of the event loop until it is stopped."""

    def __init__(self) -> None:
        self.count = 0
        self._next = asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self.count += 1
        self._next = asyncio.get_running_loop().call_soon(self._turn)

    def stop(self) -> None:
        self._next.cancel()


async def taken_by_round(security: Security) -> Counter[int]:
    """Return how many answers each round of the loop has brought."""
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
    serving, trusting = contexts()
    script = talkative(security, serving)
    taken: Counter[int] = Counter()
    rounds = Rounds()
    async with scripted_server(script, tls=serving if security is Security.TLS else None) as server:
        target = server.target(security, tls_context=trusting)
        async with connect(target, LOGIN, IMPATIENT) as connection:
            await connection.examine("INBOX")
            async for _ in connection.fetch_flags(UidSet([(1, MESSAGES)])):
                taken[rounds.count] += 1
    rounds.stop()
    assert failures == []
    return taken


@pytest.mark.parametrize("security", list(Security))
def test_thousands_of_answers_come_in_many_rounds_of_the_loop(security: Security) -> None:
    """Chatter before STARTTLS and at the LOGOUT, where a transport ends, does no harm either."""
    taken = uvloop.run(taken_by_round(security))

    assert taken.total() == MESSAGES
    assert max(taken.values()) < 2 * ANSWERS_AT_ONCE  # the end of one reading, and the next one
