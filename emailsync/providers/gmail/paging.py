"""Messages into pages: as many as the store takes well at a time, in the order they came."""

from dataclasses import dataclass, field

from emailsync.domain.folders import AccountCursor
from emailsync.domain.pages import (
    MAX_PAGE_BYTES,
    MAX_PAGE_MESSAGES,
    FetchedMessage,
    FetchedPage,
    PageChanges,
    Unfetchable,
)


@dataclass(slots=True)
class PageBuilder:
    """Collects messages until they are a page."""

    _messages: list[FetchedMessage] = field(default_factory=list)
    _unfetchable: list[Unfetchable] = field(default_factory=list)
    _size_bytes: int = 0

    def has_room_for(self, message: FetchedMessage) -> bool:
        """Return whether it still fits; a message over the size of a page has one to itself."""
        if not self._messages:
            return True
        size_bytes = self._size_bytes + len(message.raw or b"")
        return len(self._messages) < MAX_PAGE_MESSAGES and size_bytes <= MAX_PAGE_BYTES

    def add(self, message: FetchedMessage) -> None:
        """Add a message."""
        self._messages.append(message)
        self._size_bytes += len(message.raw or b"")

    def put_aside(self, item: Unfetchable) -> None:
        """Add a message that cannot be had."""
        self._unfetchable.append(item)

    def __bool__(self) -> bool:
        """Return whether there is anything in it."""
        return bool(self._messages or self._unfetchable)

    def take(self, cursor: AccountCursor | None = None) -> FetchedPage:
        """Return what was collected, with the cursor that is true then, and begin anew."""
        page = FetchedPage(
            messages=self._messages,
            changes=PageChanges(unfetchable=self._unfetchable, account_cursor=cursor),
        )
        self._messages, self._unfetchable, self._size_bytes = [], [], 0
        return page
