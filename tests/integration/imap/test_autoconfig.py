"""A domain that is asked for its server, over https on real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import pytest
import trustme

from emailsync.domain.errors import Misconfigured
from emailsync.providers.imap.autoconfig import AT_ONCE, ISPDB, MAX_BYTES, WAITING, Autoconfig
from emailsync.providers.imap.found_server import FoundServer
from emailsync.providers.network import HostResolver, NetworkPolicy

DOMAIN = "example.org"
ANN = f"ann@{DOMAIN}"
CONFIG = """<clientConfig version="1.1"><emailProvider id="x"><incomingServer type="imap">
<hostname>imap.{name}.example</hostname><port>{port}</port><socketType>SSL</socketType>
<username>%EMAILADDRESS%</username></incomingServer></emailProvider></clientConfig>"""


@dataclass
class Web:
    """Every host there is, at one address of this machine."""

    certificates: trustme.CA
    answers: dict[str, bytes] = field(default_factory=dict)  #: whole ones, by host
    asked: list[str] = field(default_factory=list)  #: "HOST TARGET"
    port: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    addresses: Mapping[str, Sequence[str]] = field(default_factory=dict)  #: but loopback

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        host = next(line.split(": ")[1] for line in head if line.lower().startswith("host: "))
        self.asked.append(f"{host} {head[0].split()[1]}")
        await self.may_answer.wait()
        writer.write(self.answers.get(host, response(404, b"")))
        await writer.drain()
        writer.close()

    def autoconfig(self, *, private: bool = True) -> Autoconfig:
        policy = NetworkPolicy(allowed_ports=(self.port,), allow_private_hosts=private)
        tls = ssl.create_default_context()
        self.certificates.configure_trust(tls)
        self.resolver = HostResolver(policy, lambda host: self.addresses.get(host, ["127.0.0.1"]))
        return Autoconfig(self.resolver, tls, allowed_ports=(143, 993), port=self.port)

    async def find(self, *, private: bool = True) -> FoundServer | None:
        autoconfig = self.autoconfig(private=private)
        with closing(self.resolver):
            return await autoconfig.find(ANN, DOMAIN)


def response(status: int, body: bytes, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def config(name: str, port: int = 993) -> bytes:
    return response(200, CONFIG.format(name=name, port=port).encode())


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    authority = trustme.CA()
    certificate = authority.issue_cert(f"autoconfig.{DOMAIN}", DOMAIN, ISPDB)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(tls)
    web = Web(authority)
    web.may_answer.set()
    server = await asyncio.start_server(web.answer, "127.0.0.1", 0, ssl=tls)
    web.port = server.sockets[0].getsockname()[1]
    async with server:
        yield web


async def test_the_domain_is_asked_first_and_mozilla_last(web: Web) -> None:
    hosts = (f"autoconfig.{DOMAIN}", DOMAIN, ISPDB)
    names = []
    for number, host in enumerate(hosts):
        web.answers = {each: config(f"of{n}") for n, each in enumerate(hosts) if n >= number}
        web.asked.clear()
        found = await web.find()
        assert found is not None
        names.append(found.host)
        assert [line.split()[0] for line in web.asked] == list(hosts[: number + 1]), host

    assert names == ["imap.of0.example", "imap.of1.example", "imap.of2.example"]
    assert web.asked == [
        f"autoconfig.{DOMAIN} /mail/config-v1.1.xml?emailaddress=ann%40{DOMAIN}",
        f"{DOMAIN} /.well-known/autoconfig/mail/config-v1.1.xml",
        f"{ISPDB} /v1.1/{DOMAIN}",
    ]


async def test_nothing_is_found_where_nothing_is_said(web: Web) -> None:
    assert await web.find() is None
    assert len(web.asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        response(302, b"", Location="https://evil.example/"),
        response(200, b" " * (MAX_BYTES + 1)),
        b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (4 * MAX_BYTES),
        b"\x00\x01",
        config("wrong-port", 6379),
    ],
    ids=["redirect", "large", "unannounced", "no http", "port"],
)
async def test_an_answer_that_leads_astray_is_passed_over(web: Web, answer: bytes) -> None:
    web.answers = dict.fromkeys((f"autoconfig.{DOMAIN}", DOMAIN), answer)
    web.answers[ISPDB] = config("right")

    found = await web.find()

    assert found is not None
    assert found.host == "imap.right.example"


async def test_a_host_of_our_own_network_is_not_asked(web: Web) -> None:
    web.answers = {DOMAIN: config("inside")}

    assert await web.find(private=False) is None
    assert web.asked == []


async def test_a_certificate_for_another_name_is_not_believed(web: Web) -> None:
    web.certificates = trustme.CA()  # of somebody else
    web.answers = {DOMAIN: config("stolen")}

    assert await web.find() is None
    assert web.asked == []


async def test_who_comes_when_too_many_ask_is_told_to_come_again(web: Web) -> None:
    """Each holds a connection of the API while it waits."""
    web.answers[f"autoconfig.{DOMAIN}"] = config("own")
    web.may_answer.clear()
    autoconfig = web.autoconfig()

    with closing(web.resolver):
        async with asyncio.TaskGroup() as group:
            finds = [
                group.create_task(autoconfig.find(ANN, DOMAIN)) for _ in range(AT_ONCE + WAITING)
            ]
            await asyncio.sleep(0)  # each has come to its place
            with pytest.raises(Misconfigured, match="too many"):
                await autoconfig.find(ANN, DOMAIN)
            web.may_answer.set()

    assert [server.host for find in finds if (server := find.result())] == ["imap.own.example"] * (
        AT_ONCE + WAITING
    )
