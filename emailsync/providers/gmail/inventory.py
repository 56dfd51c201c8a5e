"""Reads what is stored in bounded windows, however much there is."""

from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from emailsync.domain.folders import FolderId
from emailsync.ports import StoredMail, StoredMessage

WINDOW: Final = 1_000  #: messages at a time, also of a page of changes

T = TypeVar("T")


async def windows(
    stored: StoredMail, folder: FolderId | None
) -> AsyncGenerator[Sequence[StoredMessage]]:
    """Yield all messages of a folder, with None of the account; changing them is no harm."""
    after = ""
    while window := await stored.inventory(folder, after=after, limit=WINDOW):
        yield window
        if len(window) < WINDOW:
            return
        after = window[-1].remote_id


async def lookup(stored: StoredMail, remote_ids: Collection[str]) -> Mapping[str, StoredMessage]:
    """Return those of any number of messages that are stored."""
    found: dict[str, StoredMessage] = {}
    for some in chunks(list(remote_ids)):
        found.update(await stored.lookup(some))
    return found


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the items in pieces of up to a window."""
    return (items[start : start + WINDOW] for start in range(0, len(items), WINDOW))
