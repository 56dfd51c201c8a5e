"""An IMAP server that was found by an address."""

import re
from dataclasses import asdict, dataclass
from typing import Any, Final

from emailsync.providers.imap.account_settings import Security

HOST_NAME: Final = re.compile(
    r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?",
    re.ASCII,
)
"""A name with a dot in it (RFC 1123 section 2.1), and no address, which ends in digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundServer:
    """What an account's settings say of its server."""

    host: str
    port: int
    security: Security
    username: str

    def settings(self) -> dict[str, Any]:
        """Return it as an account's settings have it."""
        return asdict(self) | {"security": self.security.value}


def domain_of(address: str) -> str | None:
    """Return the domain of an address as DNS knows it; None: it has none."""
    try:
        domain = address.rpartition("@")[2].encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    return domain if HOST_NAME.fullmatch(domain) else None
