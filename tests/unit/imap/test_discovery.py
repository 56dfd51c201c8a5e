"""Which server an address has, as far as a table and a stranger's XML tell."""

import tomllib
from importlib.resources import files

import pytest

from emailsync.domain.errors import Misconfigured
from emailsync.providers.imap import discovery
from emailsync.providers.imap.account_settings import Security
from emailsync.providers.imap.autoconfig import servers_in
from emailsync.providers.imap.discovery import ImapServers
from emailsync.providers.imap.found_server import HOST_NAME, FoundServer, domain_of

ANN = "ann.b@example.org"
CONFIG = """<?xml version="1.0"?>{dtd}
<clientConfig version="1.1"><emailProvider id="example.org">
<incomingServer type="pop3"><hostname>pop.example.org</hostname><port>995</port>
<socketType>SSL</socketType><username>%EMAILADDRESS%</username></incomingServer>
<incomingServer type="imap"><hostname>{host}</hostname><port>{port}</port>
<socketType>{security}</socketType><username>{username}</username></incomingServer>
</emailProvider></clientConfig>"""
GOOD = {
    "dtd": "",
    "host": "imap.example.org",
    "port": "993",
    "security": "SSL",
    "username": "%EMAILADDRESS%",
}


def found(**changes: str) -> list[FoundServer]:
    return list(servers_in(CONFIG.format(**(GOOD | changes)).encode(), ANN))


async def find(address: str, oauth: str | None = None) -> FoundServer:
    return await ImapServers(None).find(address, oauth=oauth)


@pytest.mark.parametrize(
    ("address", "host", "username"),
    [
        ("ann@gmail.com", "imap.gmail.com", "ann@gmail.com"),
        ("Ann@GMX.de", "imap.gmx.net", "Ann@GMX.de"),
        ("ann@yahoo.co.uk", "imap.mail.yahoo.com", "ann@yahoo.co.uk"),
        ("ann@icloud.com", "imap.mail.me.com", "ann"),
        ("ann@web.de", "imap.web.de", "ann"),
        ("ann@fastmail.com", "imap.fastmail.com", "ann@fastmail.com"),
        ("ann@zohomail.eu", "imap.zoho.eu", "ann@zohomail.eu"),
        ("ann@aol.com", "imap.aol.com", "ann@aol.com"),
    ],
)
async def test_a_large_providers_server_is_known(address: str, host: str, username: str) -> None:
    assert await find(address) == FoundServer(
        host=host, port=993, security=Security.TLS, username=username
    )


@pytest.mark.parametrize("address", [ANN, "ann", "@", "a@localhost", "a@127.0.0.1", "a@-x.org"])
async def test_an_address_that_nothing_is_known_of_asks_for_its_server(address: str) -> None:
    with pytest.raises(Misconfigured, match="give host, port and security"):
        await find(address)


async def test_a_provider_that_takes_no_passwords_is_connected_another_way() -> None:
    with pytest.raises(Misconfigured, match="in a browser"):
        await find("ann@outlook.com")

    assert (await find("ann@contoso.example", "microsoft")).host == "outlook.office365.com"
    assert (await find("ann@contoso.example", "google")).host == "imap.gmail.com"


def test_the_table_names_each_domain_once_and_hosts_that_are_some() -> None:
    text = (files(discovery.__package__) / discovery.TABLE).read_text()
    servers = tomllib.loads(text)["server"]
    domains = [domain for server in servers for domain in server["domains"]]

    assert len(domains) == len(set(domains))
    assert all(HOST_NAME.fullmatch(name) for name in domains)
    assert all(HOST_NAME.fullmatch(server["host"]) for server in servers)
    assert {name for server in servers for name in server} <= {
        *("host", "domains", "username", "passwords")
    }


def test_a_domain_with_foreign_letters_is_asked_for_as_dns_knows_it() -> None:
    assert domain_of("jörg@bücher.example") == "xn--bcher-kva.example"
    assert domain_of("a@b.c/d.org") is None
    assert domain_of("a@" + "x" * 300 + ".org") is None


def test_a_description_names_imap_servers_with_tls() -> None:
    (server,) = found()
    (other,) = found(port="143", security="STARTTLS", username="%EMAILLOCALPART%")

    assert server == FoundServer(
        host="imap.example.org", port=993, security=Security.TLS, username=ANN
    )
    assert (other.port, other.security, other.username) == (143, Security.STARTTLS, "ann.b")


def test_an_address_that_looks_like_a_placeholder_stays_as_it_is() -> None:
    address = "%EMAILDOMAIN%@example.org"

    (server,) = servers_in(CONFIG.format(**GOOD).encode(), address)

    assert server.username == address


@pytest.mark.parametrize(
    "changes",
    [
        {"security": "plain"},
        {"security": ""},
        {"host": "127.0.0.1"},
        {"host": "localhost"},
        {"host": "[::1]"},
        {"host": "a b.example.org"},
        {"host": "evil.example/x"},
        {"host": ""},
        {"port": ""},
        {"port": "-1"},
        {"port": "९९३"},
        {"port": "9" * 5_000},
        {"username": "%EMAILADDRESS%" * 20},
        {"username": "ann&#13;&#10;A2 LOGOUT"},
        {"dtd": '<!DOCTYPE x [<!ENTITY a "b">]>', "host": "&a;.example.org"},
        {"dtd": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>', "username": "&a;"},
        {"dtd": '<!DOCTYPE x SYSTEM "http://evil.example/x.dtd">'},
    ],
)
def test_a_description_that_is_unsafe_or_hostile_names_none(changes: dict[str, str]) -> None:
    assert found(**changes) == []


@pytest.mark.parametrize(
    "config",
    [
        b"",
        b"\xff\xfe\x00",
        b"<html><body>not found</body></html>",
        b"<?xml version='1.0' encoding='no-such'?><a/>",
        b"<a>" * 10_000,
        CONFIG.format(**GOOD).encode()[:-20],
    ],
    ids=["empty", "binary", "html", "encoding", "deep", "cut"],
)
def test_what_is_no_description_names_none(config: bytes) -> None:
    assert list(servers_in(config, ANN)) == []


def test_a_bomb_of_entities_is_refused_before_it_grows() -> None:
    entities = '<!ENTITY a0 "ha">' + "".join(
        f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)
    )

    assert found(dtd=f"<!DOCTYPE x [{entities}]>", username="&a11;") == []
