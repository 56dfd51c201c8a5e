"""Logging in: PLAIN, LOGIN or XOAUTH2, and what a session switches on right after it."""

import base64
from dataclasses import dataclass
from typing import Final

from aioimaplib.aioimaplib import AUTH

from emailsync.crypto import Secret
from emailsync.domain.errors import Misconfigured
from emailsync.providers.imap.answers import Answer, Enabled, Id
from emailsync.providers.imap.command import ImapCommand
from emailsync.providers.imap.protocol import ImapProtocol
from emailsync.providers.imap.quirks import Quirks, quirks_of
from emailsync.providers.imap.refusals import Phase, refusal
from emailsync.providers.imap.wire_strings import wire_string

MAX_SECRET_CHARS: Final = 4_000
"""Of a password or token; servers take command lines of 8,192 bytes (RFC 7162 section 4). Sent one
of a megabyte, a server hangs up, which would count against it and stop others' accounts there."""
OUR_ID = '("name" "emailsync")'


@dataclass(frozen=True, slots=True)
class PasswordLogin:
    """A user name and a password, or an app password."""

    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class TokenLogin:
    """A user name and an OAuth access token, for XOAUTH2."""

    username: str
    token: Secret


Login = PasswordLogin | TokenLogin


async def log_in(protocol: ImapProtocol, login: Login) -> None:
    """Authenticate, and learn the capabilities that hold from now on.

    Raises:
        AuthRefused, AuthUnproven: the credentials were refused.
        Misconfigured: the server takes no password on this connection.
        Unreachable, Throttled: see refusals.py.
    """
    if protocol.greeting is not None and protocol.greeting.status == "PREAUTH":
        return
    secret = login.token if isinstance(login, TokenLogin) else login.password
    if len(secret.reveal()) > MAX_SECRET_CHARS:
        raise Misconfigured(f"the password or token has more than {MAX_SECRET_CHARS} characters")
    before = protocol.capabilities
    command = await _authenticate(protocol, login)
    assert command.condition is not None
    if command.condition.status != "OK":
        raise refusal(command.condition, Phase.LOGIN)
    protocol.state = AUTH
    if protocol.capabilities is before:  # else the server sent the new ones unasked
        await protocol.run("CAPABILITY")


async def _authenticate(protocol: ImapProtocol, login: Login) -> ImapCommand:
    if isinstance(login, TokenLogin):
        response = f"user={login.username}\1auth=Bearer {login.token.reveal()}\1\1"
        return await _sasl(protocol, "XOAUTH2", response)
    if "AUTH=PLAIN" in protocol.capabilities:
        response = f"\0{login.username}\0{login.password.reveal()}"
        return await _sasl(protocol, "PLAIN", response)
    if "LOGINDISABLED" in protocol.capabilities:
        raise Misconfigured(f"{protocol.server} takes no password on this connection: use TLS")
    try:
        user = wire_string(login.username.encode())
        password = wire_string(login.password.reveal().encode())
    except ValueError as error:
        raise Misconfigured("the user name or the password holds a line break") from error
    return await protocol.run("LOGIN", user, password)


async def _sasl(protocol: ImapProtocol, mechanism: str, response: str) -> ImapCommand:
    encoded = base64.b64encode(response.encode()).decode("ascii")
    if "SASL-IR" in protocol.capabilities:  # RFC 4959: the response in the same line
        return await protocol.run("AUTHENTICATE", mechanism, encoded)
    replies = (f"{encoded}\r\n".encode("ascii"),)
    return await protocol.run("AUTHENTICATE", mechanism, replies=replies)


async def introduce(protocol: ImapProtocol, host: str) -> Quirks:
    """Exchange IDs where that is offered (RFC 2971); return what is known against the server."""
    fields: dict[str, str] = {}
    if "ID" in protocol.capabilities:
        command = await protocol.run("ID", OUR_ID, wants=_is_id)
        for answer in protocol.take(command):
            if isinstance(answer, Id):
                fields.update(answer.fields)
    return quirks_of(host, fields)


async def enable(protocol: ImapProtocol, quirks: Quirks) -> frozenset[str]:
    """Switch QRESYNC or CONDSTORE on as offered and not known to be broken; return what is on.

    The server's ENABLED line counts, not its capability (RFC 5161 section 3.2).
    """
    offered = protocol.capabilities
    if "ENABLE" not in offered:
        return frozenset()
    if "QRESYNC" in offered and not quirks.no_qresync:
        wanted = "QRESYNC"
    elif "CONDSTORE" in offered and not quirks.no_condstore:
        wanted = "CONDSTORE"
    else:
        return frozenset()
    command = await protocol.run("ENABLE", wanted, wants=_is_enabled)
    answers = protocol.take(command)
    return frozenset().union(*(each.names for each in answers if isinstance(each, Enabled)))


def _is_id(answer: Answer) -> bool:
    return isinstance(answer, Id)


def _is_enabled(answer: Answer) -> bool:
    return isinstance(answer, Enabled)
