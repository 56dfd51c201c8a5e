"""What delta queries are about: one folder's messages, or the folders of a mailbox."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from emailsync.emulators.graph import folder_json, message_json
from emailsync.emulators.graph.attachment_json import check_select
from emailsync.emulators.graph.changes import Change, ChangeFeed, Track
from emailsync.emulators.graph.errors import bad_query
from emailsync.emulators.graph.ids import IdKind, ItemId
from emailsync.emulators.graph.items import Folder
from emailsync.emulators.graph.mailbox import Mailbox
from emailsync.emulators.graph.message_json import MessageView
from emailsync.emulators.graph.odata import Preferences, parse_received_filter, parse_selection

MAX_FILTERED_MESSAGES = 5000
CREATED, UPDATED, DELETED = CHANGE_TYPES = ("created", "updated", "deleted")

Key = tuple[int, int]  #: what items are ordered by; the second number is the item's


class Source(Protocol):
    """A collection whose changes can be followed."""

    entity: str
    scope: str  #: the folder's id; "" for the hierarchy
    feed: ChangeFeed
    change_types: Collection[str]  #: what the client wants to hear of
    most: int | None  #: items that a first round lists at most

    def keys(self) -> Sequence[Key]:
        """Return the keys of what lies there now, in order."""

    def present(self, item: int, *, is_partial: bool) -> dict[str, Any] | None:
        """Return the item; None when there is nothing to tell of it."""

    def removed(self, item: int, track: Track) -> dict[str, Any]:
        """Return what is told of an item that is gone."""


class FolderSource:
    """The folders of a mailbox, those of all levels, without the root."""

    entity = folder_json.ENTITY
    scope = ""
    change_types: Collection[str] = CHANGE_TYPES
    most: int | None = None

    def __init__(self, mailbox: Mailbox, query: Mapping[str, str]) -> None:
        self.feed = mailbox.hierarchy
        self._mailbox = mailbox
        self._shows_hidden = query.get("includeHiddenFolders", "").lower() == "true"
        self._selection = parse_selection(
            query, folder_json.ENTITY, folder_json.PROPERTIES, expandable=()
        )

    def keys(self) -> Sequence[Key]:
        """Order by age."""
        return [(0, number) for number in self._mailbox.folders if self._is_shown(number)]

    def present(self, item: int, *, is_partial: bool) -> dict[str, Any] | None:
        """Return the folder, always whole."""
        if is_partial or not self._is_shown(item):
            return None
        folder = self._mailbox.folders[item]
        return folder_json.folder_json(self._mailbox, folder, self._selection)

    def removed(self, item: int, track: Track) -> dict[str, Any]:
        """Name the folder."""
        name = str(ItemId(self._mailbox.key, IdKind.FOLDER, item, track.moves))
        return {"id": name, "@removed": {"reason": "deleted"}}

    def _is_shown(self, number: int) -> bool:
        folder = self._mailbox.folders[number]
        return folder.parent is not None and (self._shows_hidden or not folder.is_hidden)


class MessageSource:
    """The messages of one folder."""

    entity = message_json.ENTITY

    def __init__(
        self, mailbox: Mailbox, folder: Folder, query: Mapping[str, str], preferences: Preferences
    ) -> None:
        self.scope = folder.id
        self.feed = folder.feed
        self.change_types = _change_types(query)
        self.most = MAX_FILTERED_MESSAGES if query.get("$filter") else None
        self._mailbox = mailbox
        self._folder = folder
        self._passes = parse_received_filter(query.get("$filter", ""), ("ge", "gt"))
        self._newest_first = _is_newest_first(query)
        selection = parse_selection(
            query, message_json.ENTITY, message_json.PROPERTIES, message_json.EXPANDABLE
        )
        check_select(selection.expand.get("attachments"))
        self._view = MessageView(folder, preferences, selection, shows_extended=False)

    def keys(self) -> Sequence[Key]:
        """Order by age in the mailbox, or from the newest received when that was asked for."""
        messages = self._mailbox.messages
        found = [messages[number] for number in self._folder.members]
        shown = (message for message in found if self._passes(message.received_at))
        if self._newest_first:
            return sorted((-int(m.received_at.timestamp()), m.number) for m in shown)
        return sorted((0, message.number) for message in shown)

    def present(self, item: int, *, is_partial: bool) -> dict[str, Any] | None:
        """Return the message, of a partial one little more than isRead."""
        message = self._mailbox.messages[item]
        if not self._passes(message.received_at):
            return None
        if is_partial and self._mailbox.quirks.partial_items:
            return self._view.partial(message)
        entity = self._view.full(message)
        if not self._mailbox.quirks.headers_in_delta:
            entity.pop("internetMessageHeaders", None)
        return entity

    def removed(self, item: int, track: Track) -> dict[str, Any]:
        """Name the message by the id that it had in this folder."""
        moved = track.gone is Change.LEFT
        reason = str(self._mailbox.quirks.moved_reason) if moved else DELETED
        return {
            "@odata.type": "#microsoft.graph.message",
            "id": self._view.id_after(item, track.moves),
            "@removed": {"reason": reason},
        }


def _change_types(query: Mapping[str, str]) -> Collection[str]:
    wanted = query.get("changeType", "").lower()
    if not wanted:
        return CHANGE_TYPES
    if wanted not in CHANGE_TYPES:
        raise bad_query(f"changeType '{wanted}' is not one of {', '.join(CHANGE_TYPES)}.")
    return (wanted,)


def _is_newest_first(query: Mapping[str, str]) -> bool:
    order = " ".join(query.get("$orderby", "").split()).lower()
    if "$search" in query or order not in {"", "receiveddatetime desc"}:
        raise bad_query("Delta queries can only be ordered by receivedDateTime desc.")
    return bool(order)
