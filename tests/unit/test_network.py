import asyncio
import socket
import threading
from pathlib import Path

import pytest

from emailsync.domain.errors import Misconfigured, Unreachable
from emailsync.providers import network
from emailsync.providers.network import (
    HostResolver,
    NetworkPolicy,
    PinnedHost,
    is_public,
    look_up,
    open_socket,
    tls_context,
)

PUBLIC = "93.184.215.14"
POLICY = NetworkPolicy(allowed_ports=(143, 993))

#: Every way we know to write an address that is not somebody else's on the Internet.
NOT_PUBLIC = [
    *("127.0.0.1", "127.9.9.9", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
    *("192.168.0.1", "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1"),
    *("::ffff:7f00:1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::7f00:1"),
    *("2002:7f00:1::", "2002:a00:1::1", "2001::1", "2001:db8::1", "fc00::1", "fd12:3456::1"),
    *("fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "ff0e::1", "100::1"),
]
#: The same by way of the system's resolver, which knows spellings that hide a loopback address.
SPELLINGS = ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "0x7f000001", "localhost"]


def resolver(*addresses: str, policy: NetworkPolicy = POLICY) -> HostResolver:
    return HostResolver(policy, lambda _host: list(addresses))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_known_as_such(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", [PUBLIC, "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_a_public_address_is_known_as_such(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_spelling_does_not_hide_a_loopback_address(spelling: str) -> None:
    with pytest.raises(Misconfigured):
        await HostResolver(POLICY).resolve(spelling, 993)


async def test_a_host_is_pinned_to_its_addresses() -> None:
    pinned = await resolver(PUBLIC, "8.8.8.8", PUBLIC).resolve("imap.example.com", 993)

    assert pinned == PinnedHost("imap.example.com", 993, (PUBLIC, "8.8.8.8"))


async def test_one_forbidden_address_among_public_ones_forbids_the_host() -> None:
    with pytest.raises(Misconfigured):
        await resolver(PUBLIC, "10.0.0.1").resolve("imap.example.com", 993)


async def test_a_name_that_turns_private_is_caught_at_the_next_connection() -> None:
    """Rebinding: the first answer is public, the second is ours."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    rebinding = HostResolver(POLICY, lambda _host: next(answers))

    assert (await rebinding.resolve("evil.example", 993)).addresses == (PUBLIC,)
    with pytest.raises(Misconfigured):
        await rebinding.resolve("evil.example", 993)


async def test_a_forbidden_port_and_a_forbidden_address_are_told_in_the_same_words() -> None:
    told = set()
    for addresses, port in ([PUBLIC], 25), (["10.0.0.1"], 993), (["127.0.0.1"], 143):
        with pytest.raises(Misconfigured) as caught:
            await resolver(*addresses).resolve("h.example", port)
        told.add(caught.value.message.replace(str(port), "N"))

    assert told == {"connections to h.example port N are not allowed here"}


async def test_private_hosts_can_be_allowed_by_the_operator() -> None:
    policy = NetworkPolicy(allowed_ports=(143,), allow_private_hosts=True)

    pinned = await resolver("127.0.0.1", policy=policy).resolve("localhost", 143)

    assert pinned.addresses == ("127.0.0.1",)


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), OSError(), ValueError()])
async def test_a_name_that_does_not_resolve_may_resolve_later(error: Exception) -> None:
    def failing(_host: str) -> list[str]:
        raise error

    with pytest.raises(Unreachable):
        await HostResolver(POLICY, failing).resolve("imap.example.com", 993)


@pytest.mark.parametrize("host", ["", "a" * 300, "a..b", "x" * 64 + ".example"])
async def test_what_cannot_be_a_host_name_never_leaves_the_tree_of_errors(host: str) -> None:
    with pytest.raises((Misconfigured, Unreachable)):
        await HostResolver(POLICY).resolve(host, 993)


async def test_a_resolver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "RESOLVE_TIMEOUT_S", 0.1)
    release = threading.Event()

    def hanging(_host: str) -> list[str]:
        release.wait(5)
        return [PUBLIC]

    hosts = HostResolver(POLICY, hanging)
    with pytest.raises(Unreachable, match="in time"):
        await hosts.resolve("imap.example.com", 993)
    release.set()
    hosts.close()


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.2", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with await open_socket(["127.0.0.3", "127.0.0.2"], port) as connection:
            assert connection.getpeername() == ("127.0.0.2", port)
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 90_000


async def test_when_no_address_answers_the_last_error_is_raised() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    with pytest.raises(ConnectionRefusedError):
        await open_socket(["127.0.0.2", "127.0.0.1"], port)


def test_this_machines_own_address_is_not_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is a public one: packets to it would come from it."""
    monkeypatch.setattr(network, "_is_own", lambda _address: True)

    assert not is_public(PUBLIC)


def test_the_systems_resolver_is_asked() -> None:
    assert "127.0.0.1" in look_up("127.0.0.1")


def test_authorities_that_cannot_be_used_are_a_matter_of_settings(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()

    with pytest.raises(Misconfigured, match=r"imap\.ca_file: .*holds no certificate"):
        tls_context(empty)
    with pytest.raises(Misconfigured, match=r"imap\.ca_file: .*No such file"):
        tls_context(tmp_path / "missing.pem")
