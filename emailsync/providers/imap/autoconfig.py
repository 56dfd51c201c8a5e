"""What a domain says of its own IMAP server, or Mozilla's database of it (autoconfig, ISPDB).

By https alone, to addresses that were checked, for a few kilobytes and seconds; no redirect is
followed. The answer is XML from a stranger: without a DTD, and only as far as it names TLS.

Source: draft-ietf-mailmaint-autoconfig.
"""

import re
import ssl
from collections.abc import Collection, Iterator
from typing import Any, Final
from urllib.parse import quote

import anyio
import httpx

from emailsync.domain.errors import Misconfigured, Unreachable
from emailsync.providers.imap.account_settings import MAX_USERNAME_CHARS, Security
from emailsync.providers.imap.found_server import HOST_NAME, FoundServer
from emailsync.providers.network import HostResolver, PinnedHost

HTTPS_PORT: Final = 443
ISPDB: Final = "autoconfig.thunderbird.net"
MAX_BYTES: Final = 64 * 1024  #: the largest of ISPDB has 9 kB
DEADLINE_S: Final = 5.0  #: for one place to ask
AT_ONCE: Final = 4  #: domains that are asked, whoever wants to know
WAITING: Final = 20  #: others; whoever waits for all of them waits for a minute
PLACEHOLDER: Final = re.compile("%EMAIL(ADDRESS|LOCALPART|DOMAIN)%")
SECURITIES: Final = {"SSL": Security.TLS, "STARTTLS": Security.STARTTLS}
"""Not `plain`: nobody's password goes out in clear because of what a stranger says."""


class Autoconfig:
    """Asks domains.

    Args:
        resolver: allows `port`.
        tls: whose certificates are believed.
        allowed_ports: of the IMAP servers that may be found.
        port: where https is; another one than 443 is for tests.
    """

    def __init__(
        self,
        resolver: HostResolver,
        tls: ssl.SSLContext,
        *,
        allowed_ports: Collection[int],
        port: int = HTTPS_PORT,
    ) -> None:
        self._resolver = resolver
        self._tls = tls
        self._allowed_ports = allowed_ports
        self._port = port
        self._at_once = anyio.CapacityLimiter(AT_ONCE)

    async def find(self, address: str, domain: str) -> FoundServer | None:
        """Return the first server that is described somewhere; None: there is none.

        Raises:
            Misconfigured: too many others want to know.
        """
        if self._at_once.statistics().tasks_waiting >= WAITING:
            raise Misconfigured(
                "too many domains are being asked for their servers: give host, port and security, "
                "or try again in a minute"
            )
        async with self._at_once:
            return await self._find(address, domain)

    async def _find(self, address: str, domain: str) -> FoundServer | None:
        for host, path in (
            (f"autoconfig.{domain}", f"/mail/config-v1.1.xml?emailaddress={quote(address)}"),
            (domain, "/.well-known/autoconfig/mail/config-v1.1.xml"),
            (ISPDB, f"/v1.1/{domain}"),
        ):
            if answer := await self._ask(host, path):
                for server in servers_in(answer, address):
                    if server.port in self._allowed_ports:
                        return server
        return None

    async def _ask(self, host: str, path: str) -> bytes | None:
        """Return what lies there; None: nothing that could be read."""
        try:
            with anyio.fail_after(DEADLINE_S):
                pinned = await self._resolver.resolve(host, self._port)
                return await self._read(pinned, path)
        except (Misconfigured, Unreachable, TimeoutError, httpx.HTTPError, OSError):
            return None

    async def _read(self, pinned: PinnedHost, path: str) -> bytes | None:
        at = pinned.addresses[0]
        where = f"[{at}]" if ":" in at else at
        async with (
            httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=DEADLINE_S) as client,
            client.stream(
                "GET",
                f"https://{where}:{pinned.port}{path}",
                headers={"Host": pinned.host, "Accept-Encoding": "identity"},
                extensions={"sni_hostname": pinned.host},  # whose certificate it has to be
            ) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                return None
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > MAX_BYTES:
                    return None
            return bytes(body)


def servers_in(config: bytes, address: str) -> Iterator[FoundServer]:
    """Yield the IMAP servers with TLS that a description names, in its order.

    Args:
        config: of the format 1.1; anything else yields nothing.
        address: whose server it is.
    """
    # Imported where it is needed: most installations ask nobody.
    from defusedxml import DefusedXmlException  # noqa: PLC0415 - see above
    from defusedxml.ElementTree import ParseError, fromstring  # noqa: PLC0415 - see above

    try:
        root = fromstring(config, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):  # the last: an encoding
        return
    for server in root.iterfind("./emailProvider/incomingServer[@type='imap']"):
        if (found := _server(server, address)) is not None:
            yield found


def _server(server: Any, address: str) -> FoundServer | None:
    def text(name: str) -> str:
        return (server.findtext(name) or "").strip()

    host, port, security = (
        text("hostname").lower(),
        text("port"),
        SECURITIES.get(text("socketType")),
    )
    if security is None or not HOST_NAME.fullmatch(host):
        return None
    if not (port.isascii() and port.isdecimal() and len(port) <= 5):  # noqa: PLR2004 - 65535
        return None
    local, _, domain = address.rpartition("@")
    parts = {"ADDRESS": address, "LOCALPART": local, "DOMAIN": domain}
    username = PLACEHOLDER.sub(lambda found: parts[found[1]], text("username")) or address
    if len(username) > MAX_USERNAME_CHARS or not username.isprintable():
        return None
    return FoundServer(host=host, port=int(port), security=security, username=username)
