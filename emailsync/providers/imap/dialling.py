"""From an address to a connection that has greeted us, with TLS where TLS was asked for.

No credential is sent from here, and nothing that came in the clear survives STARTTLS.
"""

import asyncio
import ssl
from dataclasses import dataclass

from emailsync.domain.errors import Misconfigured, SyncError, Unreachable
from emailsync.providers.imap.account_settings import Security
from emailsync.providers.imap.protocol import ImapProtocol, WireLimits
from emailsync.providers.imap.refusals import connection_error
from emailsync.providers.network import open_socket


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapTarget:
    """A server to connect to, resolved and checked by network.py."""

    host: str  #: what its certificate must name
    port: int
    addresses: tuple[str, ...]
    security: Security
    tls_context: ssl.SSLContext

    @property
    def server(self) -> str:
        """The name for messages."""
        return f"{self.host}:{self.port}"


async def dial(target: ImapTarget, limits: WireLimits) -> ImapProtocol:
    """Connect, read the greeting and switch to TLS if that is asked for.

    Raises:
        Unreachable, Throttled: the server cannot be reached, or will not talk now.
        Misconfigured: its certificate or its lack of TLS is beyond waiting.
    """
    try:
        async with asyncio.timeout(limits.connect_s):
            protocol = await _connect(target, limits)
    except OSError as error:  # TimeoutError is one
        raise connection_error(error, target.server) from error
    try:
        await _be_greeted(protocol, target, limits)
    except BaseException as error:
        if not isinstance(error, SyncError):
            protocol.fail(Unreachable("the connection was given up"))
        await protocol.hang_up()
        raise
    return protocol


async def _connect(target: ImapTarget, limits: WireLimits) -> ImapProtocol:
    connection = await open_socket(target.addresses, target.port)
    tls = target.security is Security.TLS
    try:
        _, protocol = await asyncio.get_running_loop().create_connection(
            lambda: ImapProtocol(limits, target.server),
            sock=connection,
            ssl=target.tls_context if tls else None,
            server_hostname=target.host if tls else None,
        )
    except BaseException:
        connection.close()
        raise
    return protocol


async def _be_greeted(protocol: ImapProtocol, target: ImapTarget, limits: WireLimits) -> None:
    try:
        async with asyncio.timeout(limits.connect_s):
            greeting = await protocol.greeted()
    except TimeoutError as error:
        raise connection_error(error, target.server) from error
    if target.security is Security.STARTTLS:
        if greeting.status == "PREAUTH":
            # RFC 9051 section 6.2.1: no STARTTLS once authenticated; somebody strips the TLS.
            raise Unreachable(f"{target.server} logs us in before TLS could begin")
        await _start_tls(protocol, target, limits)
    if not protocol.capabilities:
        await protocol.run("CAPABILITY")


async def _start_tls(protocol: ImapProtocol, target: ImapTarget, limits: WireLimits) -> None:
    if not protocol.capabilities:
        await protocol.run("CAPABILITY")
    if "STARTTLS" not in protocol.capabilities:
        raise Misconfigured(f"{target.server} offers no STARTTLS; no password goes there in clear")
    answer = await protocol.finish(protocol.begin("STARTTLS"))
    if answer.status != "OK":
        raise Unreachable(f"{target.server} refused STARTTLS")
    if protocol.failure is not None:
        raise protocol.failure
    try:
        async with asyncio.timeout(limits.connect_s):
            transport = await asyncio.get_running_loop().start_tls(
                protocol.transport,
                protocol,
                target.tls_context,
                server_hostname=target.host,
            )
    except OSError as error:
        protocol.connection_lost(error)  # asyncio does not say so after a failed handshake
        raise connection_error(error, target.server) from error
    if protocol.failure is not None:
        raise protocol.failure
    protocol.begin_tls(transport)
