"""Where a browser may be sent when a mailbox is connected: no redirect leads anywhere else.

Either a path of our own public address, plain enough that no browser or proxy can read another host
into it, or exactly one of the addresses that the operator allowed (CWE-601).
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from emailsync.config import HttpSettings
from emailsync.providers.oauth.issuers import origin

MAX_CHARS: Final = 2_000
PLAIN_PATH: Final = re.compile(
    r"/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?)?"
    r"(?:\?[A-Za-z0-9._~=&+,:-]*)?"
    r"(?:#[A-Za-z0-9._~=&/-]*)?",
    re.ASCII,
)
"""Neither an empty segment nor one that begins with a dot; nothing encoded, no backslash, no @."""


def is_allowed(return_to: str, settings: HttpSettings) -> bool:
    """Tell whether a browser may be sent there."""
    if len(return_to) > MAX_CHARS:
        return False
    return PLAIN_PATH.fullmatch(return_to) is not None or return_to in settings.return_to_allowed


def address_of(return_to: str, public_url: str, outcome: Mapping[str, str]) -> str:
    """Return the address to redirect to, with the outcome added to its query.

    It is whole: a browser is never left to guess what a path is relative to.
    """
    given = urlsplit(origin(public_url) + return_to if return_to.startswith("/") else return_to)
    query = "&".join(filter(None, (given.query, urlencode(outcome))))
    return urlunsplit(given._replace(query=query))
