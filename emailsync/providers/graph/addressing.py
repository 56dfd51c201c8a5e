"""Where things are in Microsoft Graph: the mailbox's own root, and the links that it gives.

A target is a path with its query below the API's version, such as `/me/mailFolders/delta`: what a
request of a `$batch` names, and what a link is cut down to. A link comes from outside, so it leads
to the configured API or nowhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from emailsync.domain.errors import ServerRefused

VERSION: Final = "/v1.0"
PUBLIC_API: Final = "https://graph.microsoft.com"
MAX_LINK_CHARS: Final = 32_768  #: half of what httpx takes for a URL
DELEGATED_ROOT: Final = "/me"
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_QUERY_SAFE: Final = "$,/()=:'"  #: what OData writes as it is


class ForeignLink(ServerRefused):
    """A link leads away from the configured API; it was not followed."""


def user_root(user: str) -> str:
    """Return the root of a mailbox for application permissions: by user principal name or id."""
    return f"/users/{quote(user, safe='@')}"


def target(path: str, options: Mapping[str, str] | None = None) -> str:
    """Return a target with OData options; the path is below the version and quoted already."""
    if not options:
        return path
    query = "&".join(f"{name}={quote(value, safe=_QUERY_SAFE)}" for name, value in options.items())
    return f"{path}?{query}"


def segment(remote_id: str) -> str:
    """Return an id as a segment of a path."""
    return quote(remote_id, safe="=")


@dataclass(frozen=True, slots=True)
class LinkCutter:
    """Cuts links of one API down to targets."""

    api_url: str

    def cut(self, link: str) -> str:
        """Return the target that an absolute link leads to.

        Raises:
            ForeignLink: it leads to another host, scheme, port or version, or is no link at all.
        """
        api = urlsplit(self.api_url)
        root = api.path.rstrip("/") + VERSION
        try:
            given = urlsplit(link)
            is_home = _origin(given) == _origin(api) and "@" not in given.netloc
        except ValueError:
            is_home = False
        # A link is kept: one that no request can be made of would stop its folder for ever.
        is_plain = len(link) <= MAX_LINK_CHARS and link.isascii() and link.isprintable()
        if not (is_plain and is_home and given.path.startswith(f"{root}/")):
            raise ForeignLink("Microsoft Graph gave a link to another host, which is not followed")
        path = given.path.removeprefix(root)
        return f"{path}?{given.query}" if given.query else path


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _DEFAULT_PORTS.get(url.scheme)
