"""Which hosts a tenant's account may connect to, and the connection to exactly that address.

A name is resolved once and every address is checked; the connection then goes to a checked address
while TLS still verifies the name, so a resolver that changes its mind changes nothing. Whatever is
not allowed is told in one sentence that says nothing about the network.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emailsync.domain.errors import Misconfigured, Unreachable

RESOLVER_THREADS: Final = 8  #: a resolver that hangs costs these, not one a caller
RESOLVE_TIMEOUT_S: Final = 10.0  #: two rounds of resolv.conf's default of 5 s
MAX_ADDRESSES: Final = 8  #: tried of one name
ATTEMPT_TIMEOUT_S: Final = 5.0  #: of one address while there is another to try
KEEPALIVE_IDLE_S: Final = 60  #: Linux's default is two hours
KEEPALIVE_INTERVAL_S: Final = 10
KEEPALIVE_PROBES: Final = 3
USER_TIMEOUT_MS: Final = 90_000  #: unacknowledged data ends the connection as keepalive would

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NEVER_GLOBAL: Final = (
    ipaddress.ip_network("64:ff9b:1::/48"),  # RFC 8215: NAT64 inside a network
    ipaddress.ip_network("fec0::/10"),  # RFC 3879: site-local, still routed here and there
)
_IPV4_IN_IPV6: Final = ipaddress.ip_network("::/96")  # RFC 4291 section 2.5.5.1, deprecated

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """Where accounts may connect to."""

    allowed_ports: Collection[int]
    allow_private_hosts: bool = False


@dataclass(frozen=True, slots=True)
class PinnedHost:
    """A host with the addresses that were checked; connections go to these and no others."""

    host: str
    port: int
    addresses: tuple[str, ...]


class HostResolver:
    """Resolves and checks host names. One a daemon; `close` gives its threads back."""

    def __init__(self, policy: NetworkPolicy, lookup: Lookup | None = None) -> None:
        self._policy = policy
        self._lookup = lookup or look_up
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolver")

    def close(self) -> None:
        """Start no look-up any more and leave those under way behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def resolve(self, host: str, port: int) -> PinnedHost:
        """Return the host's addresses, each of them allowed. Asked anew for every connection.

        Raises:
            Misconfigured: the port or an address is not allowed, or the name cannot be one.
            Unreachable: the name does not resolve now.
        """
        if port not in self._policy.allowed_ports:
            raise not_allowed(host, port)
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._lookup, host
                )
        except TimeoutError as error:
            raise Unreachable(f"{host} could not be resolved in time") from error
        except UnicodeError as error:  # no host name by RFC 3490
            raise not_allowed(host, port) from error
        except (OSError, ValueError) as error:
            raise Unreachable(f"{host} could not be resolved") from error
        addresses = tuple(dict.fromkeys(found))[:MAX_ADDRESSES]
        if not addresses:
            raise Unreachable(f"{host} could not be resolved")
        if not self._policy.allow_private_hosts and not all(map(is_public, addresses)):
            raise not_allowed(host, port)
        return PinnedHost(host, port, addresses)


def look_up(host: str) -> list[str]:
    """Ask the system's resolver; blocking."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def not_allowed(host: str, port: int) -> Misconfigured:
    """Return the one refusal that tenants see, whatever is not allowed."""
    return Misconfigured(f"connections to {host} port {port} are not allowed here")


def is_public(text: str) -> bool:
    """Return whether the address belongs to somebody on the Internet who is not this machine."""
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in network for network in _NEVER_GLOBAL):
            return False
        # `is_global` is true for these wrappers whatever they wrap (Python 3.11).
        inner = _embedded(address)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast and not _is_own(address)


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64 or address in _IPV4_IN_IPV6:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_own(address: Address) -> bool:
    """Return whether packets to the address would come from it; a UDP connect sends nothing."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 (IP versions)
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((str(address), 9))
        return bool(probe.getsockname()[0] == str(address))
    return False


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return the context for all connections: the system's authorities and the operator's own.

    Reading the authorities takes tens of milliseconds: make one and keep it.

    Raises:
        Misconfigured: the operator's file cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except ssl.SSLError as error:
            raise Misconfigured(
                f"imap.ca_file: {ca_file} holds no certificate in PEM form"
            ) from error
        except OSError as error:
            raise Misconfigured(f"imap.ca_file: {ca_file}: {error.strerror}") from error
    return context


async def open_socket(addresses: Sequence[str], port: int) -> socket.socket:
    """Connect to the first address that answers; the caller sets the time limit.

    Raises:
        OSError: none did; the last one's error.
    """
    loop = asyncio.get_running_loop()
    failure = OSError("no address to connect to")
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            _keep_alive(connection)
            async with asyncio.timeout(None if address == addresses[-1] else ATTEMPT_TIMEOUT_S):
                await loop.sock_connect(connection, (address, port))
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
