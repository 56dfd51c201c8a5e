"""TLS at once, STARTTLS, and those who stand in between."""

import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from emailsync.domain.errors import Misconfigured, SyncError, Unreachable
from emailsync.providers.imap.account_settings import Security
from emailsync.providers.imap.connection import connect
from emailsync.providers.imap.protocol import ANSWERS_AT_ONCE
from emailsync.providers.network import tls_context
from imap_server import IMPATIENT, LOGIN, Dialogue, scripted_server

COUNT = b"* 1 EXISTS\r\n"
LAST_WEEK = datetime.now(UTC) - timedelta(days=7)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    ca_file: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    return tls_context(ca_file)


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def good(authority: trustme.CA) -> ssl.SSLContext:
    return server_context(authority.issue_cert("localhost"))


async def log_in(server: Dialogue) -> None:
    await server.log_in()


async def test_tls_at_once(good: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with scripted_server(log_in, tls=good) as server:
        target = server.target(Security.TLS, tls_context=trusting)
        async with connect(target, LOGIN, IMPATIENT):
            pass

    assert server.dialogues[0].commands == ['LOGIN "user" "secret"', "LOGOUT"]


async def test_starttls_and_what_was_said_before_is_forgotten(
    good: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """The capabilities of the clear part may be an attacker's (RFC 9051 section 6.2.1)."""

    async def script(server: Dialogue) -> None:
        await server.play("""
            S: * OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR] ready
            C: STARTTLS
            S: {tag} OK begin
        """)
        await server.start_tls(good)
        await server.play("""
            C: CAPABILITY
            S: * CAPABILITY IMAP4rev1
            S: {tag} OK done
            C: LOGIN "user" "secret"
            S: {tag} OK in
            C: CAPABILITY
            S: * CAPABILITY IMAP4rev1 CONDSTORE
            S: {tag} OK done
        """)

    async with scripted_server(script) as server:
        target = server.target(Security.STARTTLS, tls_context=trusting)
        async with connect(target, LOGIN, IMPATIENT) as connection:
            assert connection.has_condstore


async def stripped(server: Dialogue) -> None:
    await server.send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready")
    await server.silence()


async def stripped_on_request(server: Dialogue) -> None:
    await server.play("""
        S: * OK ready
        C: CAPABILITY
        S: * CAPABILITY IMAP4rev1
        S: {tag} OK done
    """)
    await server.silence()


async def refused(server: Dialogue) -> None:
    await server.play("""
        S: * OK [CAPABILITY IMAP4rev1 STARTTLS] ready
        C: STARTTLS
        S: {tag} NO not today
    """)
    await server.silence()


async def logged_in_already(server: Dialogue) -> None:
    await server.send("* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] welcome")
    await server.silence()


def injecting(data: bytes, *, before: bytes = b"") -> Callable[[Dialogue], Awaitable[None]]:
    async def script(server: Dialogue) -> None:
        await server.send("* OK [CAPABILITY IMAP4rev1 STARTTLS] ready")
        await server.expect("STARTTLS")
        await server.send_bytes(before + f"{server.tag} OK begin\r\n".encode() + data)
        await server.silence()

    return script


@pytest.mark.parametrize(
    ("attack", "decision"),
    [
        (stripped, Misconfigured),
        (stripped_on_request, Misconfigured),
        (refused, Unreachable),
        (logged_in_already, Unreachable),
        (injecting(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"), Unreachable),
        (injecting(b"* BYE go away\r\n"), Unreachable),
        (injecting(b"A1 OK you are in\r\n"), Unreachable),
        (injecting(b"half a line"), Unreachable),
        (injecting(b"\r"), Unreachable),
        (injecting(COUNT, before=(ANSWERS_AT_ONCE - 1) * COUNT), Unreachable),
    ],
)
async def test_nothing_secret_is_said_when_tls_is_held_off(
    attack: Callable[[Dialogue], Awaitable[None]],
    decision: type[SyncError],
    trusting: ssl.SSLContext,
) -> None:
    async with scripted_server(attack) as server:
        target = server.target(Security.STARTTLS, tls_context=trusting)
        with pytest.raises(decision):
            async with connect(target, LOGIN, IMPATIENT):
                pass

    assert {"CAPABILITY", "STARTTLS"} >= set(server.dialogues[0].commands)


#: What a certificate is issued for and by whom; how it is judged.
BAD_CERTIFICATES: dict[str, tuple[Callable[[trustme.CA], trustme.LeafCert], type[SyncError]]] = {
    "another host name": (lambda ca: ca.issue_cert("elsewhere.example"), Misconfigured),
    "not known here": (lambda _: trustme.CA().issue_cert("localhost"), Misconfigured),
    "not valid now": (lambda ca: ca.issue_cert("localhost", not_after=LAST_WEEK), Unreachable),
}


async def begin_tls(server: Dialogue) -> None:
    await server.play("""
        S: * OK [CAPABILITY IMAP4rev1 STARTTLS] ready
        C: STARTTLS
        S: {tag} OK begin
    """)


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
@pytest.mark.parametrize("fault", BAD_CERTIFICATES)
async def test_a_bad_certificate_stops_before_the_password(
    fault: str, security: Security, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    issue, decision = BAD_CERTIFICATES[fault]
    context = server_context(issue(authority))

    async def script(server: Dialogue) -> None:
        if security is Security.STARTTLS:
            await begin_tls(server)
            await server.start_tls(context)
        await server.log_in()

    at_once = context if security is Security.TLS else None
    async with scripted_server(script, tls=at_once) as server:
        target = server.target(security, tls_context=trusting)
        with pytest.raises(decision, match=fault):
            async with connect(target, LOGIN, IMPATIENT):
                pass

    said = [command for dialogue in server.dialogues for command in dialogue.commands]
    assert said in ([], ["STARTTLS"])


@pytest.mark.parametrize("security", [Security.TLS, Security.STARTTLS])
@pytest.mark.parametrize(
    ("answer", "decision", "words"),
    [
        (b"\x15\x03\x02\x00\x02\x02\x46", Misconfigured, "no TLS of version 1.2"),
        (b"* OK plain IMAP here\r\n", Unreachable, "does not speak TLS as expected"),
    ],
)
async def test_a_server_that_cannot_do_our_tls_is_told_from_one_that_is_away(
    answer: bytes,
    decision: type[SyncError],
    words: str,
    security: Security,
    trusting: ssl.SSLContext,
) -> None:
    """The first answer is the alert of a TLS 1.1 server (RFC 8446 section 6.2)."""

    async def script(server: Dialogue) -> None:
        if security is Security.STARTTLS:
            await begin_tls(server)
        await server.reader.read(65_536)
        await server.send_bytes(answer)
        await server.silence()

    async with scripted_server(script) as server:
        target = server.target(security, tls_context=trusting)
        with pytest.raises(decision, match=words):
            async with connect(target, LOGIN, IMPATIENT):
                pass


def test_our_context_demands_a_certificate_for_the_name_and_tls_1_2() -> None:
    context = tls_context()

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
