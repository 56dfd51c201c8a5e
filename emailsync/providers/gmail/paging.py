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

    cursor: AccountCursor | None = None  #: true once everything before it is stored
    _messages: list[FetchedMessage] = field(default_factory=list)
    _unfetchable: list[Unfetchable] = field(default_factory=list)
    _size_bytes: int = 0

    def has_room_for(self, message: FetchedMessage) -> bool:
        """Return whether it still fits; a message over the size of a page has one to itself."""
        return not self._messages or self._size_bytes + len(message.raw or b"") <= MAX_PAGE_BYTES

    @property
    def is_full(self) -> bool:
        """Return whether not even a small message fits any more."""
        return len(self._messages) >= MAX_PAGE_MESSAGES or self._size_bytes >= MAX_PAGE_BYTES

    def add(self, message: FetchedMessage) -> None:
        """Add a message."""
        self._messages.append(message)
        self._size_bytes += len(message.raw or b"")

    def put_aside(self, item: Unfetchable) -> None:
        """Add a message that cannot be had."""
        self._unfetchable.append(item)

    def __bool__(self) -> bool:
        """Return whether there is anything in it."""
        return bool(self._messages or self._unfetchable or self.cursor)

    def take(self) -> FetchedPage:
        """Return what was collected as a page, and begin anew."""
        page = FetchedPage(
            messages=self._messages,
            changes=PageChanges(unfetchable=self._unfetchable, account_cursor=self.cursor),
        )
        self._messages, self._unfetchable, self._size_bytes = [], [], 0
        self.cursor = None
        return page
