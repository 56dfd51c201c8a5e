"""What particular servers claim but do not keep, as data with the source of each line.

A server is known by the host we connect to, or by what it calls itself in its ID answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What must not be used, though the server offers it."""

    no_condstore: bool = False
    no_qresync: bool = False
    no_esearch: bool = False

    def __or__(self, other: "Quirks") -> "Quirks":
        """Return what neither side allows."""
        return Quirks(
            no_condstore=self.no_condstore or other.no_condstore,
            no_qresync=self.no_qresync or other.no_qresync,
            no_esearch=self.no_esearch or other.no_esearch,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownServer:
    """A server with quirks, and how to recognise it."""

    quirks: Quirks
    source: str
    host_suffixes: tuple[str, ...] = ()
    id_names: tuple[str, ...] = ()  #: beginnings of the "name" field of ID, in lower case


KNOWN_SERVERS: Final = (
    KnownServer(
        host_suffixes=("imap.mail.me.com", "icloud.com"),
        quirks=Quirks(no_qresync=True, no_esearch=True),
        source="Mailspring-Sync#91: VANISHED malformed, sequence numbers wrong;"
        " nextcloud/mail#9454: ESEARCH incomplete",
    ),
    KnownServer(
        host_suffixes=("imap.gmail.com", "imap.googlemail.com"),
        quirks=Quirks(no_qresync=True),
        source="mailcore2#752: VANISHED stays empty",
    ),
    KnownServer(
        host_suffixes=("imap.mail.yahoo.com", "imap.aol.com"),
        quirks=Quirks(no_condstore=True, no_qresync=True),
        source="MailKit#221, imapsync#119: an own XYMHIGHESTMODSEQ beside the standard one,"
        " CHANGEDSINCE answered BAD [CLIENTBUG]",
    ),
    KnownServer(
        id_names=("pymap",),
        quirks=Quirks(no_condstore=True, no_qresync=True),
        source="tested with pymap 0.36: takes SELECT (CONDSTORE) and ignores CHANGEDSINCE",
    ),
)


def quirks_of(host: str, server_id: Mapping[str, str]) -> Quirks:
    """Return everything that is known against this server."""
    found = Quirks()
    name = server_id.get("name", "").lower()
    for server in KNOWN_SERVERS:
        if _under(host.lower(), server.host_suffixes) or name.startswith(server.id_names):
            found = found | server.quirks
    return found


def _under(host: str, suffixes: tuple[str, ...]) -> bool:
    return any(host == suffix or host.endswith(f".{suffix}") for suffix in suffixes)
