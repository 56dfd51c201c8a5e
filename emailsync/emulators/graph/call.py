"""A request that has been let in, and how its path and query find things in the mailbox."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from emailsync.emulators.graph.errors import item_not_found, malformed_id
from emailsync.emulators.graph.exchange import Answer, Request
from emailsync.emulators.graph.items import Folder, Message
from emailsync.emulators.graph.mailbox import Mailbox
from emailsync.emulators.graph.message_json import MessageView
from emailsync.emulators.graph.odata import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    Selection,
    parse_number,
)

MAX_SKIP = 1_000_000

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a resource of one mailbox."""

    request: Request
    mailbox: Mailbox
    names: Sequence[str]  #: the ids and well-known names of the path, in order

    @property
    def url(self) -> str:
        """The request's own URL without its query."""
        base = self.mailbox.quirks.link_base or self.request.base_url
        return f"{base}/v1.0{self.request.path}"

    def context(self, what: str) -> dict[str, Any]:
        """Return the @odata.context."""
        return {"@odata.context": f"{self.request.base_url}/v1.0/$metadata#{what}"}

    def folder(self) -> Folder:
        """Return the folder that the path names first; 404 or 400 when there is none."""
        return found(self.mailbox.folder, self.names[0])

    def message(self) -> Message:
        """Return the message of the path, which lies in the path's folder if that is named."""
        message = found(self.mailbox.message, self.names[-1])
        if len(self.names) > 1 and self.folder().number != message.folder:
            raise item_not_found()
        return message

    def view(self, message: Message, selection: Selection) -> MessageView:
        """Return how a message is to be shown."""
        folder = self.mailbox.folders[message.folder]
        return MessageView(folder, self.request.preferences, selection)

    def paged(
        self, what: str, items: Sequence[Item], show: Callable[[Item], dict[str, Any]]
    ) -> Answer:
        """Return the page of a list that $top and $skip, or a preference, ask for."""
        query = self.request.query
        preferred = self.request.preferences.page_size or DEFAULT_PAGE_SIZE
        top = parse_number(query, "$top", preferred, MAX_PAGE_SIZE) or preferred
        skip = parse_number(query, "$skip", 0, MAX_SKIP)
        body = self.context(what)
        if query.get("$count") == "true":
            body["@odata.count"] = len(items)
        if skip + top < len(items):
            following = urlencode({**query, "$skip": skip + top}, safe="$")
            body["@odata.nextLink"] = f"{self.url}?{following}"
        body["value"] = [show(item) for item in items[skip : skip + top]]
        return Answer(body=body)


def found(look_up: Callable[[str], Item], name: str) -> Item:
    """Return what the ledger finds.

    Raises:
        GraphError: 404 or 400.
    """
    try:
        return look_up(name)
    except KeyError:
        raise item_not_found() from None
    except ValueError:
        raise malformed_id() from None
