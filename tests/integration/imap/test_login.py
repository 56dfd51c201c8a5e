"""Logging in as each server takes it, and what is switched on after it."""

import base64

import pytest

from emailsync.crypto import Secret
from emailsync.domain.errors import (
    AuthUnproven,
    Misconfigured,
)
from emailsync.providers.imap.connection import connect
from emailsync.providers.imap.login import MAX_SECRET_CHARS, PasswordLogin, TokenLogin
from imap_server import IMPATIENT, LOGIN, Dialogue, scripted_server


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("capabilities", "conversation"),
    [
        (
            "IMAP4rev1 AUTH=PLAIN SASL-IR",
            f"""
            C: AUTHENTICATE PLAIN {encoded(chr(0) + "me" + chr(0) + "geheim ü")}
            """,
        ),
        (
            "IMAP4rev1 AUTH=PLAIN",
            f"""
            C: AUTHENTICATE PLAIN
            S: +
            C: {encoded(chr(0) + "me" + chr(0) + "geheim ü")}
            """,
        ),
        (
            "IMAP4rev1 LITERAL+",
            'C: LOGIN "me" {9+}\n C: geheim \xc3\xbc',
        ),
        (
            "IMAP4rev1",
            'C: LOGIN "me" {9}\n S: + go on\n C: geheim \xc3\xbc',
        ),
    ],
)
async def test_a_password_goes_as_the_server_takes_it(capabilities: str, conversation: str) -> None:
    async def script(server: Dialogue) -> None:
        await server.send(f"* OK [CAPABILITY {capabilities}] ready")
        tag = ""
        for line in conversation.strip().splitlines():
            speaker, _, text = line.strip().partition(": ")
            if speaker.startswith("S"):
                await server.send(text)
            elif not tag:
                await server.expect(text)
                tag = server.tag
            else:
                assert await server.line() == text
        await server.play("""
            S: {tag} OK [CAPABILITY IMAP4rev1] in
        """)

    login = PasswordLogin("me", Secret("geheim ü"))
    async with scripted_server(script) as server, connect(server.target(), login, IMPATIENT):
        pass


async def test_a_token_is_sent_at_once_where_that_is_allowed() -> None:
    response = encoded("user=me\1auth=Bearer t0ken\1\1")

    async def script(server: Dialogue) -> None:
        await server.play(f"""
            S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready
            C: AUTHENTICATE XOAUTH2 {response}
            S: * CAPABILITY IMAP4rev1 IDLE
            S: {{tag}} OK in
        """)

    async with (
        scripted_server(script) as server,
        server.connect(TokenLogin("me", Secret("t0ken"))),
    ):
        pass


@pytest.mark.parametrize("kind", [PasswordLogin, TokenLogin])
async def test_a_secret_longer_than_any_command_line_is_not_sent(
    kind: type[PasswordLogin | TokenLogin],
) -> None:
    """The server would hang up, and that would count against the server of all others."""

    async def script(server: Dialogue) -> None:
        await server.send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2] ready")
        await server.expect("LOGOUT")

    login = kind("me", Secret("x" * (MAX_SECRET_CHARS + 1)))
    async with scripted_server(script) as server:
        with pytest.raises(Misconfigured, match="more than 4000 characters"):
            async with connect(server.target(), login, IMPATIENT):
                pass


async def test_a_refusal_without_a_reason_proves_nothing() -> None:
    async def script(server: Dialogue) -> None:
        await server.play("""
            S: * OK ready
            C: CAPABILITY
            S: * CAPABILITY IMAP4rev1
            S: {tag} OK done
            C: LOGIN "user" "secret"
            S: {tag} NO LOGIN failed.
        """)

    async with scripted_server(script) as server:
        with pytest.raises(AuthUnproven):
            async with server.connect():
                pass


async def test_a_server_that_takes_no_password_here_is_not_given_one() -> None:
    async def script(server: Dialogue) -> None:
        await server.send("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED STARTTLS] ready")

    async with scripted_server(script) as server:
        with pytest.raises(Misconfigured):
            async with server.connect():
                pass


async def test_what_the_server_can_do_is_asked_again_after_the_login() -> None:
    async def script(server: Dialogue) -> None:
        await server.play("""
            S: * OK [CAPABILITY IMAP4rev1 ENABLE QRESYNC ESEARCH] ready
            C: LOGIN "user" "secret"
            S: {tag} OK in
            C: CAPABILITY
            S: * CAPABILITY IMAP4rev1
            S: {tag} OK done
        """)

    async with scripted_server(script) as server, server.connect() as connection:
        assert not connection.has_qresync


async def test_a_server_is_told_who_we_are_and_is_known_by_what_it_answers() -> None:
    async def script(server: Dialogue) -> None:
        await server.log_in("IMAP4rev1 ID CONDSTORE")
        await server.play("""
            C: ID ("name" "emailsync")
            S: * ID ("name" "pymap" "version" "0.36")
            S: {tag} OK done
        """)

    async with scripted_server(script) as server, server.connect() as connection:
        assert connection.quirks.no_condstore
        assert not connection.has_condstore


async def test_a_known_host_is_not_asked_for_what_it_breaks() -> None:
    async def script(server: Dialogue) -> None:
        await server.play("""
            S: * OK [CAPABILITY IMAP4rev1 ENABLE CONDSTORE QRESYNC ESEARCH] ready
            C: LOGIN "user" "secret"
            S: {tag} OK [CAPABILITY IMAP4rev1 ENABLE CONDSTORE QRESYNC ESEARCH] in
            C: ENABLE CONDSTORE
            S: * ENABLED CONDSTORE
            S: {tag} OK on
        """)

    async with scripted_server(script) as server:
        target = server.target(host="imap.mail.me.com")
        async with connect(target, LOGIN, IMPATIENT) as connection:
            assert (connection.has_condstore, connection.has_qresync) == (True, False)


async def test_qresync_counts_only_when_the_server_says_that_it_is_on() -> None:
    async def script(server: Dialogue) -> None:
        await server.play("""
            S: * OK [CAPABILITY IMAP4rev1 ENABLE QRESYNC] ready
            C: LOGIN "user" "secret"
            S: {tag} OK [CAPABILITY IMAP4rev1 ENABLE QRESYNC] in
            C: ENABLE QRESYNC
            S: {tag} OK whatever
        """)

    async with scripted_server(script) as server, server.connect() as connection:
        assert not connection.has_qresync
