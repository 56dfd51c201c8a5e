"""Messages that lie in no folder any more: moved to where nobody has looked yet, or really gone.

A removal from a folder proves nothing: a move looks the same, and a message that came back may stay
reported as removed for ever (microsoft-graph-docs issue 21752). So Graph is asked for each by name.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Final

from emailsync.domain.errors import SyncError
from emailsync.domain.mail import Flags
from emailsync.domain.pages import FetchedPage, FlagChange, PageChanges, Placement, PlacementChange
from emailsync.ports import StoredMail
from emailsync.providers.graph.contents import ContentFetcher
from emailsync.providers.graph.folder_state import FolderMap
from emailsync.providers.graph.folder_tree import FolderTree
from emailsync.providers.graph.items import ENVELOPE, Item, flags_of, parent_of
from emailsync.providers.graph.refusals import ItemGone

GROUP: Final = 50  #: messages that are asked for before what came of it is stored


@dataclass(slots=True)
class DetachedMail:
    """Finds out what became of detached messages, for one session."""

    stored: StoredMail
    contents: ContentFetcher
    folders: FolderMap
    tree: FolderTree
    _looked_again: bool = field(default=False, init=False)

    async def pages(self) -> AsyncGenerator[FetchedPage]:
        """Yield where they lie, or that they are deleted; what cannot be told now is left alone."""
        after = ""
        while names := await self.stored.detached(after=after, limit=GROUP):
            after = names[-1]
            answers = await self.contents.get_items(names, ENVELOPE)
            gone, found = [], []
            for name, answer in zip(names, answers, strict=True):
                if isinstance(answer, ItemGone):
                    gone.append(name)
                elif not isinstance(answer, SyncError) and parent_of(told := answer.json()):
                    found.append({**told, "id": name})
            yield await self._settled(gone, found)

    async def _settled(self, gone: Sequence[str], found: Sequence[Item]) -> FetchedPage:
        """Return what is true of these; what lies in a folder that is not synced is gone for us."""
        if not self._looked_again and any(self._place(item) is None for item in found):
            self._looked_again = True
            tree = await self.tree.read_whole(await self.stored.folders())
            self.folders.update(tree.folders, tree.totals)
        placed = [(item, where) for item in found if (where := self._place(item))]
        elsewhere = [item["id"] for item in found if self._place(item) is None]
        self.folders.touch(where.folder_id for _, where in placed)
        return FetchedPage(
            changes=PageChanges(
                placements=[PlacementChange(item["id"], (where,)) for item, where in placed],
                flags=[FlagChange(item["id"], flags_of(item, Flags())) for item, _ in placed],
                settled=[*gone, *elsewhere],
            )
        )

    def _place(self, item: Item) -> Placement | None:
        folder = self.folders.named(parent_of(item))
        return None if folder is None else Placement(folder)
