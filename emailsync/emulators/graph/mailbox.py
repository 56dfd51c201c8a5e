"""One mailbox and all that can happen in it: the truth that a client's copy is held against.

Operations take ids and well-known names, as they come over the control API too. Each records what
delta queries will tell of it.
"""

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import count

from emailsync.emulators.graph import ids
from emailsync.emulators.graph.changes import Change, ChangeFeed
from emailsync.emulators.graph.ids import IdKind
from emailsync.emulators.graph.items import (
    DELETED_ITEMS,
    DISPLAY_NAMES,
    DRAFTS,
    INBOX,
    ROOT,
    FlagStatus,
    Folder,
    GeneratedSource,
    Message,
    RawSource,
)
from emailsync.emulators.graph.quirks import (
    AccessState,
    ExpiredAnswer,
    LinkKind,
    Quirks,
    TokenExpiry,
)


class Mailbox:
    """Folders and messages of one user. Numbers of changes grow over the whole mailbox."""

    def __init__(self, address: str, *, display_names: dict[str, str] | None = None) -> None:
        self.address = address
        self.aliases: list[str] = []  #: its other addresses
        self.key = blake2b(address.casefold().encode(), digest_size=16).digest()
        self.user_id = str(uuid.UUID(bytes=self.key))
        self.quirks = Quirks()
        self.access = AccessState()
        self.expiry = TokenExpiry()
        self.folders: dict[int, Folder] = {}
        self.messages: dict[int, Message] = {}
        self.hierarchy = ChangeFeed()
        self.written = count(1)  #: numbers the messages that were written as MIME anew
        self.last_change = 0
        self._numbers = count(1)
        self._well_known: dict[str, int] = {}
        self._add_folder("Top of Information Store", None, well_known=ROOT)
        for name, shown in (DISPLAY_NAMES | (display_names or {})).items():
            self._add_folder(shown, self.folder(ROOT).number, well_known=name)

    # What lies where

    def folder(self, reference: str) -> Folder:
        """Return the folder of that id or well-known name.

        Raises:
            KeyError: there is none (any more).
            ValueError: neither a name nor an id.
        """
        number = self._well_known.get(reference.lower())
        if number is None:
            number = self._number(reference, IdKind.FOLDER)
        return self.folders[number]

    def message(self, reference: str) -> Message:
        """Return the message of that immutable or regular id; a regular one ends with a move.

        Raises:
            KeyError: there is none (any more).
            ValueError: not an id.
        """
        message = self.messages[self._number(reference, IdKind.MESSAGE, IdKind.REGULAR_MESSAGE)]
        name = ids.parse(reference)
        if name.kind is IdKind.REGULAR_MESSAGE and name.detail != message.moves:
            raise KeyError(reference)
        return message

    def children(self, folder: Folder) -> Sequence[Folder]:
        """Return the folders right under this one."""
        return [child for child in self.folders.values() if child.parent == folder.number]

    def in_folder(self, reference: str) -> Sequence[Message]:
        """Return what lies in a folder, in order of arrival."""
        return [self.messages[number] for number in self.folder(reference).members]

    def path(self, folder: Folder) -> str:
        """Return the display names from the top, joined by slashes; the root is ""."""
        if folder.parent is None:
            return ""
        above = self.path(self.folders[folder.parent])
        return f"{above}/{folder.display_name}" if above else folder.display_name

    # Mail

    def put(
        self,
        source: GeneratedSource | RawSource,
        folder: str = INBOX,
        *,
        received_at: datetime | None = None,
        is_read: bool = False,
        flag: FlagStatus = FlagStatus.NOT_FLAGGED,
        is_draft: bool = False,
        is_old: bool = False,
    ) -> Message:
        """Put mail into a folder; what `is_old` has lain there since before anybody looked."""
        target = self.folder(folder)
        received_at = (received_at or datetime.now(UTC)).replace(microsecond=0)
        message = Message(
            mailbox=self.key,
            number=next(self._numbers),
            source=source,
            folder=target.number,
            received_at=received_at,
            modified_at=received_at,
            is_read=is_read,
            is_draft=is_draft,
            flag=flag,
        )
        self.messages[message.number] = message
        target.members[message.number] = None
        if not is_old:
            self._tell(message, Change.ARRIVED)
        return message

    def deliver(
        self, raw: bytes, folder: str = INBOX, *, received_at: datetime | None = None
    ) -> Message:
        """Let a message arrive; None: received now."""
        return self.put(RawSource(raw), folder, received_at=received_at)

    def save_draft(self, raw: bytes) -> Message:
        """Save a new draft, which is read by nature."""
        return self.put(RawSource(raw), DRAFTS, is_read=True, is_draft=True)

    def revise_draft(self, message_id: str, raw: bytes) -> None:
        """Save a draft again with other content; it keeps its id."""
        message = self.message(message_id)
        message.source = RawSource(raw)
        self._altered(message)

    def set_read(self, message_id: str, *, is_read: bool = True) -> None:
        """Mark as read or unread."""
        message = self.message(message_id)
        message.is_read = is_read
        self._altered(message, Change.READ)

    def set_flag(self, message_id: str, status: FlagStatus = FlagStatus.FLAGGED) -> None:
        """Flag for follow-up, mark as complete, or remove the flag."""
        message = self.message(message_id)
        message.flag = FlagStatus(status)
        self._altered(message)

    def categorise(self, message_id: str, categories: Sequence[str]) -> None:
        """Set all categories."""
        message = self.message(message_id)
        message.categories = tuple(categories)
        self._altered(message)

    def move(self, message_id: str, folder: str) -> None:
        """Move to another folder: regular ids end, the immutable one stays."""
        message = self.message(message_id)
        target = self.folder(folder)
        if target.number == message.folder:
            return
        self._leave(message, Change.LEFT)
        message.moves += 1
        message.folder = target.number
        target.members[message.number] = None
        self._altered(message, Change.ARRIVED)

    def trash(self, message_id: str) -> None:
        """Delete as people do: move to Deleted Items."""
        self.move(message_id, DELETED_ITEMS)

    def delete(self, message_id: str) -> None:
        """Delete for ever."""
        message = self.message(message_id)
        self._leave(message, Change.DELETED)
        del self.messages[message.number]

    # Folders

    def create_folder(self, name: str, parent: str = ROOT, *, is_hidden: bool = False) -> Folder:
        """Make a folder under another."""
        folder = self._add_folder(name, self.folder(parent).number, is_hidden=is_hidden)
        self.hierarchy.record(self._next(), folder.number, Change.ARRIVED)
        return folder

    def rename_folder(self, folder: str, name: str) -> None:
        """Give a folder another display name; it keeps its id."""
        found = self.folder(folder)
        found.display_name = name
        self.hierarchy.record(self._next(), found.number, Change.ALTERED)

    def move_folder(self, folder: str, parent: str) -> None:
        """Put a folder under another; it keeps its id."""
        found = self.folder(folder)
        found.parent = self.folder(parent).number
        self.hierarchy.record(self._next(), found.number, Change.ALTERED)

    def delete_folder(self, folder: str) -> None:
        """Delete for ever, with what lies in it and under it."""
        found = self.folder(folder)
        for child in self.children(found):
            self.delete_folder(child.id)
        for number in list(found.members):
            self.delete(self.messages[number].id)
        del self.folders[found.number]
        self.hierarchy.record(self._next(), found.number, Change.DELETED)

    def add_old_folder(self, path: str) -> Folder:
        """Make a folder, and those above it, that have been there since before anybody looked."""
        above, _, name = path.rpartition("/")
        parent = self.add_old_folder(above) if above else self.folder(ROOT)
        known = (child for child in self.children(parent) if child.display_name == name)
        return next(known, None) or self._add_folder(name, parent.number)

    def expire_tokens(
        self,
        folder: str | None = None,
        *,
        kinds: Sequence[LinkKind] = tuple(LinkKind),
        answer: ExpiredAnswer = ExpiredAnswer.GONE,
    ) -> None:
        """Let links made so far expire: those of one folder, of the hierarchy (""), or (None) all.

        Args:
            folder: id or well-known name.
            kinds: nextLinks, deltaLinks, or both.
            answer: how they are refused from now on.
        """
        scope = self.folder(folder).id if folder else folder
        self.expiry.expire(scope, kinds=kinds, answer=answer)

    def truth(self) -> Iterator[tuple[str, Message]]:
        """Yield every message with the path of its folder."""
        for message in self.messages.values():
            yield self.path(self.folders[message.folder]), message

    def _number(self, reference: str, *kinds: IdKind) -> int:
        name = ids.parse(reference)
        if name.kind not in kinds:
            raise ValueError(f"an id of another kind: {reference!r}")
        if name.mailbox != self.key:
            raise KeyError(reference)
        return name.number

    def _add_folder(
        self,
        name: str,
        parent: int | None,
        *,
        well_known: str | None = None,
        is_hidden: bool = False,
    ) -> Folder:
        folder = Folder(
            mailbox=self.key,
            number=next(self._numbers),
            display_name=name,
            parent=parent,
            well_known=well_known,
            is_hidden=is_hidden,
        )
        self.folders[folder.number] = folder
        if well_known:
            self._well_known[well_known] = folder.number
        return folder

    def _next(self) -> int:
        self.last_change += 1
        return self.last_change

    def _altered(self, message: Message, change: Change = Change.ALTERED) -> None:
        message.version += 1
        message.modified_at = datetime.now(UTC).replace(microsecond=0)
        self._tell(message, change)

    def _leave(self, message: Message, change: Change) -> None:
        self._tell(message, change)
        del self.folders[message.folder].members[message.number]

    def _tell(self, message: Message, change: Change) -> None:
        self.folders[message.folder].feed.record(
            self._next(),
            message.number,
            change,
            moves=message.moves,
            loses_returned=self.quirks.loses_returned,
        )
