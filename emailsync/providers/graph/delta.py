"""One page of a delta round, and whether the round ever ends.

Servers have been seen to give the same link for ever, links in a circle, and ever new links to the
same items (microsoft-graph-docs issues 4897 and 21096, msgraph-sdk-dotnet issues 3070 and 3082).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from emailsync.domain.errors import ServerRefused
from emailsync.providers.http_messages import Answer

MAX_REPEATS: Final = 3  #: of the same items in one round; a page that comes twice is normal
SMALLEST_PAGE: Final = 10  #: items of a page, if the server gives no more than by default
MAX_ID_CHARS: Final = 2_000  #: they have 150; Postgres indexes up to 2,700 bytes
SPARE_PAGES: Final = 50  #: that bring nothing new, whatever the size of the folder


class EndlessRound(ServerRefused):
    """The links of a round lead in a circle."""


@dataclass(frozen=True, slots=True)
class DeltaPage:
    """One page: exactly one of the links is there."""

    items: Sequence[Mapping[str, Any]]
    next_link: str | None
    delta_link: str | None

    @classmethod
    def read(cls, answer: Answer) -> "DeltaPage":
        """Read a page.

        Raises:
            ServerRefused: it is none.
        """
        body = answer.json()
        items = body.get("value")
        next_link, delta_link = body.get("@odata.nextLink"), body.get("@odata.deltaLink")
        next_link = next_link if isinstance(next_link, str) and next_link else None
        delta_link = delta_link if isinstance(delta_link, str) and delta_link else None
        if not isinstance(items, list) or (next_link is None) == (delta_link is None):
            raise ServerRefused("Microsoft Graph answered a delta query without items or a link")
        return cls([item for item in items if _has_id(item)], next_link, delta_link)


def is_removed(item: Mapping[str, Any]) -> bool:
    """Return whether the item is not there any more, gone for good or to another folder."""
    return "@removed" in item


def _has_id(item: object) -> bool:
    name = item.get("id") if isinstance(item, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ID_CHARS:
        return False
    return name.isascii() and name.isprintable()  # it goes into URLs


@dataclass(slots=True)
class RoundWatch:
    """Follows one round of one session and ends it when it leads nowhere."""

    total: int  #: items that the folder has, as far as known
    _links: set[str] = field(default_factory=set)
    _payloads: Counter[int] = field(default_factory=Counter)
    _seen: set[int] = field(default_factory=set)  #: hashes of ids: an id has 150 characters
    _idle: int = 0  #: pages that brought nothing new, the empty ones included

    def see(self, page: DeltaPage) -> None:
        """Note a page.

        Raises:
            EndlessRound: this round will not end; its pages so far are true.
        """
        if page.next_link is None:
            return
        payload = frozenset(hash(item["id"]) for item in page.items)
        self._payloads[hash(payload)] += bool(payload)
        self._idle += payload <= self._seen
        if page.next_link in self._links:
            raise EndlessRound("the pages of a delta query lead in a circle")
        if self._payloads[hash(payload)] >= MAX_REPEATS:
            raise EndlessRound("the pages of a delta query repeat the same items")
        if self._idle > self.total // SMALLEST_PAGE * 2 + SPARE_PAGES:
            raise EndlessRound("a delta query has more pages than the folder can fill")
        self._links.add(page.next_link)
        self._seen |= payload


def merged(items: Collection[Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Return each item of a page once: named twice, what the later one has counts."""
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        found.setdefault(item["id"], {}).update(item)
    return found
