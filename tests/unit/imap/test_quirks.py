import pytest

from emailsync.providers.imap.quirks import KNOWN_SERVERS, Quirks, quirks_of


@pytest.mark.parametrize(
    ("host", "quirks"),
    [
        ("imap.mail.me.com", Quirks(no_qresync=True, no_esearch=True)),
        ("P07-IMAP.Mail.Me.Com", Quirks()),
        ("p07.imap.mail.me.com", Quirks(no_qresync=True, no_esearch=True)),
        ("imap.gmail.com", Quirks(no_qresync=True)),
        ("imap.mail.yahoo.com", Quirks(no_condstore=True, no_qresync=True)),
        ("evil-imap.gmail.com", Quirks()),
        ("mail.example.com", Quirks()),
    ],
)
def test_a_server_is_known_by_its_host(host: str, quirks: Quirks) -> None:
    assert quirks_of(host, {}) == quirks


def test_a_server_is_known_by_what_it_calls_itself() -> None:
    assert quirks_of("localhost", {"name": "pymap"}).no_condstore
    assert quirks_of("localhost", {"name": "Dovecot"}) == Quirks()


def test_every_quirk_names_its_source() -> None:
    assert all(server.source for server in KNOWN_SERVERS)
