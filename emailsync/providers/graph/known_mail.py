"""What is known of messages: what is stored, and what this session has yielded and not yet stored.

Decides what an item of a page changes; what a change costs is not its concern.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from emailsync.domain.folders import FolderId
from emailsync.domain.mail import Flags
from emailsync.domain.pages import FetchedPage, FlagChange, Placement, PlacementChange
from emailsync.ports import StoredMail
from emailsync.providers.graph.delta import is_removed
from emailsync.providers.graph.items import Item, flags_of, has_envelope


class Known(NamedTuple):
    """A message as far as it is known."""

    flags: Flags
    folders: frozenset[FolderId]


@dataclass(slots=True)
class ItemChanges:
    """What the items of a page change."""

    left: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)  #: left as well, and known to nobody
    placements: list[PlacementChange] = field(default_factory=list)
    flags: list[FlagChange] = field(default_factory=list)
    wanted: list[Item] = field(default_factory=list)  #: messages to be fetched
    folders: set[FolderId] = field(default_factory=set)  #: whose counts may have changed


@dataclass(slots=True)
class KnownMail:
    """Looks messages up for one session."""

    stored: StoredMail
    _on_their_way: dict[str, Known] = field(default_factory=dict)

    @property
    def has_unstored(self) -> bool:
        """Whether messages were yielded since the last page without any."""
        return bool(self._on_their_way)

    def note(self, page: FetchedPage) -> None:
        """Note what is being yielded; a page without messages waits for all before it."""
        if not page.messages:
            self._on_their_way.clear()
        for message in page.messages:
            folders = frozenset(placement.folder_id for placement in message.placements)
            self._on_their_way[message.remote_id] = Known(message.flags, folders)

    async def lookup(self, remote_ids: Collection[str]) -> Mapping[str, Known]:
        """Return those of these messages that are known."""
        if not remote_ids:
            return {}
        stored = await self.stored.lookup(remote_ids)
        known = {at: Known(message.flags, message.folders) for at, message in stored.items()}
        return known | {at: self._on_their_way[at] for at in remote_ids if at in self._on_their_way}


def changes_of(
    items: Mapping[str, Item],
    known: Mapping[str, Known],
    folder: FolderId,
    where: Callable[[Item], FolderId],
) -> ItemChanges:
    """Compare items with what is known of them.

    Args:
        items: of one page of a folder, by id.
        known: see `KnownMail.lookup`.
        folder: whose page it is.
        where: the folder that an item lies in.
    """
    changes = ItemChanges()
    for remote_id, item in items.items():
        before = known.get(remote_id)
        if is_removed(item):
            if before is None:
                changes.strange.append(remote_id)
            elif folder in before.folders:
                changes.left.append(remote_id)
                changes.folders.add(folder)
        elif before is None:
            changes.wanted.append(item)
            changes.folders.add(where(item))
        else:
            _compare(changes, item, before, where(item))
    return changes


def _compare(changes: ItemChanges, item: Item, before: Known, here: FolderId) -> None:
    remote_id = item["id"]
    if before.folders != {here}:
        changes.placements.append(PlacementChange(remote_id, (Placement(here),)))
        changes.folders |= before.folders | {here}
    flags = flags_of(item, before.flags)
    if flags != before.flags:
        changes.flags.append(FlagChange(remote_id, flags))
    # What was sent or received stays as it is; a draft is written again until it is sent.
    if (before.flags.is_draft or flags.is_draft) and has_envelope(item):
        changes.wanted.append(item)
