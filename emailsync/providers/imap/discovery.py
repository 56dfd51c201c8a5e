"""Which IMAP server an address has: from a table of the large providers, or from the domain itself.

The domain is asked over the network only where the settings allow it (`imap.autoconfig`).
"""

import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import anyio.to_thread

from emailsync.config import ImapSettings
from emailsync.domain.errors import Misconfigured
from emailsync.providers.imap.account_settings import Security
from emailsync.providers.imap.autoconfig import HTTPS_PORT, Autoconfig
from emailsync.providers.imap.found_server import FoundServer, domain_of
from emailsync.providers.network import HostResolver, NetworkPolicy, tls_context
from emailsync.providers.oauth.classifier import Issuer

TABLE: Final = "known_servers.toml"
IMAP_TLS_PORT: Final = 993
HOSTS: Final = {
    Issuer.GOOGLE: "imap.gmail.com",
    Issuer.MICROSOFT: "outlook.office365.com",
}
"""Of whoever's mailbox is opened by their tokens, whatever the domain of its address."""


@dataclass(frozen=True, slots=True)
class ImapServers:
    """Finds the servers of addresses."""

    autoconfig: Autoconfig | None  #: None: the network is not asked

    async def find(self, address: str, *, oauth: str | None) -> FoundServer:
        """Return the server of an address, with a password or with the tokens of an issuer.

        Raises:
            Misconfigured: none is known, or it lets nobody in by a password; the message says what
                to do.
        """
        if oauth is not None:
            return _found(address, {"host": HOSTS[Issuer(oauth)]})
        domain = domain_of(address)
        if domain is not None and (known := _known().get(domain)):
            if known.get("passwords", True):
                return _found(address, known)
            raise Misconfigured(
                f"{domain} lets nobody in by a password: connect it in a browser, or say whose "
                "tokens open it by oauth"
            )
        if domain is not None and self.autoconfig is not None:
            found = await self.autoconfig.find(address, domain)
            if found is not None:
                return found
        raise Misconfigured(
            "no IMAP server is known for this address: give host, port and security"
        )


@asynccontextmanager
async def imap_servers(settings: ImapSettings) -> AsyncIterator[ImapServers]:
    """Yield what finds servers; its threads live as long as the context."""
    if not settings.autoconfig:
        yield ImapServers(None)
        return
    policy = NetworkPolicy(
        allowed_ports=(HTTPS_PORT,), allow_private_hosts=settings.allow_private_hosts
    )
    tls = await anyio.to_thread.run_sync(tls_context, settings.ca_file)
    with closing(HostResolver(policy)) as resolver:
        yield ImapServers(Autoconfig(resolver, tls, allowed_ports=settings.allowed_ports))


@lru_cache(maxsize=1)
def _known() -> Mapping[str, Mapping[str, Any]]:
    """Return the table, by domain."""
    text = (files(__package__) / TABLE).read_text(encoding="utf-8")
    servers = tomllib.loads(text)["server"]
    return {domain: server for server in servers for domain in server["domains"]}


def _found(address: str, known: Mapping[str, Any]) -> FoundServer:
    local = address.rpartition("@")[0]
    return FoundServer(
        host=known["host"],
        port=IMAP_TLS_PORT,
        security=Security.TLS,
        username=local if known.get("username") == "local" else address,
    )
