"""What a setting may be made of: text that is checked, and counts with bounds.

A message says what the value should be, and repeats nothing that may be a password.
"""

import ipaddress
import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from apscheduler.triggers.cron import CronTrigger
from pydantic import AfterValidator, Field

MAX_PORT: Final = 65_535
PLAIN_ADDRESS: Final = re.compile(r"[A-Za-z0-9._~:/\[\]!$&'()*+,;=%-]+", re.ASCII)
"""What RFC 3986 has for an address, without a user, a query or a fragment."""

Count = Annotated[int, Field(ge=1, le=100_000)]
Milliseconds = Annotated[int, Field(ge=0, le=86_400_000)]
Seconds = Annotated[int, Field(ge=1, le=31_536_000)]


def _crontab(value: str) -> str:
    """Accept what APScheduler will accept."""
    CronTrigger.from_crontab(value, timezone="UTC")
    return value


def _database(value: str) -> str:
    """Accept `embedded` or a PostgreSQL URL; the message must not repeat the password."""
    if value == "embedded":
        return value
    try:
        url = urlsplit(value)
        for host in url.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port  # a password's # or / makes the rest of it a port
    except ValueError:
        raise ValueError(
            "is not a valid URL; in a password write / as %2F, # as %23, ? as %3F, @ as %40"
        ) from None
    if url.scheme not in {"postgresql", "postgres"}:
        raise ValueError('should be "embedded" or start with postgresql://')
    return value


def _listen_address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise ValueError('should be host:port, such as "127.0.0.1:8025" or "[::1]:8025"')
    return value


def _web_address(value: str) -> str:
    """Accept https, and plain http on loopback: for tests and emulators."""
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError:
        raise ValueError("is not a valid address: its host or its port is none") from None
    if not host or not (
        value.startswith("https://") or (value.startswith("http://") and is_loopback(host))
    ):
        raise ValueError("should start with https:// (http:// only on loopback)")
    if not PLAIN_ADDRESS.fullmatch(value):
        raise ValueError(
            "should be scheme, host and path alone, in ASCII, without a user, ?, # or spaces"
        )
    return value


def is_loopback(host: str) -> bool:
    """Return whether what is sent to a host stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Crontab = Annotated[str, AfterValidator(_crontab)]
DatabaseUrl = Annotated[str, AfterValidator(_database)]
ListenAddress = Annotated[str, AfterValidator(_listen_address)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
