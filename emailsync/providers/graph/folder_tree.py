"""The folders of a mailbox: which are synced, under which paths, and what each is for.

The delta of the hierarchy only tells that something changed; then the tree is read whole, because
a path needs all names above it. Hidden folders hold no mail of people, and search folders show
messages that lie elsewhere: neither is synced. A stored folder that is not listed is gone when
Graph says so of it by name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from emailsync.domain.errors import ServerRefused, SyncError
from emailsync.domain.folders import FolderChanges, FolderRole, RemoteFolder, StoredFolder
from emailsync.loop_rounds import in_pieces
from emailsync.ports import StoredMail
from emailsync.providers.graph.addressing import ForeignLink, segment, target
from emailsync.providers.graph.batch import Part, get_batched
from emailsync.providers.graph.client import GraphClient
from emailsync.providers.graph.delta import DeltaPage, RoundWatch, is_removed, merged
from emailsync.providers.graph.items import text
from emailsync.providers.graph.refusals import CursorExpired, ItemGone

PAGE: Final = 250  #: folders
MAX_PATH_CHARS: Final = 4_000
"""Exchange allows 300 levels: 5,000 folders that deep would have 300 MB of paths. Folders further
down share the path of the one where it ends; they are told apart by their ids."""
SEPARATOR: Final = "/"
SELECTION: Final = "id,displayName,parentFolderId,totalItemCount,isHidden"
SEARCH_FOLDER: Final = "mailsearchfolder"

#: Names that stand for a folder in any language; the last one is missing in many mailboxes.
WELL_KNOWN: Final[Mapping[str, FolderRole]] = {
    "inbox": FolderRole.INBOX,
    "drafts": FolderRole.DRAFTS,
    "sentitems": FolderRole.SENT,
    "deleteditems": FolderRole.TRASH,
    "junkemail": FolderRole.JUNK,
    "archive": FolderRole.ARCHIVE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The stored folders, brought up to date."""

    folders: Sequence[StoredFolder]
    totals: Mapping[str, int]  #: messages, by remote id; of folders that were listed now
    link: str  #: to the changes from here on
    is_news: bool  #: the link has to be stored: what was before it differs
    removed: bool  #: folders went: messages of theirs may lie nowhere now


class _Entry:
    """A folder as Graph lists it."""

    __slots__ = ("is_synced", "name", "parent", "total")

    def __init__(self, item: Mapping[str, Any]) -> None:
        kind = (text(item.get("@odata.type")) or "").rpartition(".")[2].lower()
        total = item.get("totalItemCount")
        self.name = text(item.get("displayName"))
        self.parent = text(item.get("parentFolderId"))
        self.total = total if isinstance(total, int) and total >= 0 else None
        self.is_synced = item.get("isHidden") is not True and kind != SEARCH_FOLDER


def escaped(name: str) -> str:
    r"""Return a display name as a segment of a path: `\/` is a slash in it, `\\` a backslash."""
    return name.replace("\\", "\\\\").replace(SEPARATOR, f"\\{SEPARATOR}")


@dataclass(slots=True)
class FolderTree:
    """Reads the folders for one session and keeps the stored ones up to date."""

    client: GraphClient
    stored: StoredMail

    async def refresh(self, link: str | None) -> Tree:
        """Return the folders, as they are since the changes that `link` leads to."""
        known = await self.stored.folders()
        if link and known:
            try:
                items, fresh = await self._follow(self.client.links.cut(link))
            except (CursorExpired, ForeignLink):  # foreign: another API is configured by now
                pass
            else:
                if not _has_news(items, known):
                    return Tree(
                        folders=known, totals={}, link=fresh, is_news=bool(items), removed=False
                    )
        return await self.read_whole(known)

    async def read_whole(self, known: Sequence[StoredFolder]) -> Tree:
        """List all folders and store what differs."""
        options = {"$select": SELECTION}
        items, link = await self._follow(target(f"{self._root}/delta", options))
        there = (pair for pair in items.items() if not is_removed(pair[1]))
        entries = dict(await in_pieces((at, _Entry(item)) for at, item in there))
        roles = await self._roles(entries, known)
        seen = await in_pieces(
            RemoteFolder(remote_id=at, path=path, role=roles.get(at))
            for at, path in _paths(entries)
            if entries[at].is_synced and entries[at].name
        )
        gone = await self._gone(known, {folder.remote_id for folder in seen}, entries)
        folders = await self.stored.save_folders(
            FolderChanges(seen=tuple(seen), gone=tuple(folder.id for folder in gone))
        )
        totals = {at: entry.total for at, entry in entries.items() if entry.total is not None}
        return Tree(folders=folders, totals=totals, link=link, is_news=True, removed=bool(gone))

    @property
    def _root(self) -> str:
        return f"{self.client.root}/mailFolders"

    async def _follow(self, wanted: str) -> tuple[Mapping[str, Mapping[str, Any]], str]:
        """Return all items of a round and the link to the next."""
        items: list[Mapping[str, Any]] = []
        watch = RoundWatch(total=0)
        while True:
            page = DeltaPage.read(await self.client.get(wanted, page_size=PAGE))
            watch.see(page)
            items += page.items
            if page.delta_link is not None:
                self.client.links.cut(page.delta_link)
                return merged(items), page.delta_link
            wanted = self.client.links.cut(page.next_link or "")

    async def _roles(
        self, entries: Mapping[str, _Entry], known: Sequence[StoredFolder]
    ) -> Mapping[str, FolderRole]:
        """Return what folders are for; asked only when there are new ones, for roles stay."""
        roles = {folder.remote_id: folder.role for folder in known if folder.role is not None}
        if entries.keys() <= {folder.remote_id for folder in known}:
            return roles
        names = [name for name, role in WELL_KNOWN.items() if role not in roles.values()]
        parts = [Part(target(f"{self._root}/{name}", {"$select": "id"})) for name in names]
        for name, answer in zip(names, await get_batched(self.client, parts), strict=True):
            if isinstance(answer, ServerRefused):  # it has no such folder
                continue
            if isinstance(answer, SyncError):
                raise answer
            remote_id = text(answer.json().get("id"))
            if remote_id is not None:
                roles[remote_id] = WELL_KNOWN[name]
        return roles

    async def _gone(
        self,
        known: Sequence[StoredFolder],
        seen: set[str],
        entries: Mapping[str, _Entry],
    ) -> Sequence[StoredFolder]:
        """Return the stored folders that are not listed and not to be had either."""
        missing = [folder for folder in known if folder.remote_id not in seen]
        unlisted = [folder for folder in missing if folder.remote_id not in entries]
        targets = [
            target(f"{self._root}/{segment(folder.remote_id)}", {"$select": "id"})
            for folder in unlisted
        ]
        answers = await self.client.get_each(targets)
        return [
            folder
            for folder, answer in zip(unlisted, answers, strict=True)
            if isinstance(answer, ItemGone)
        ]


def _paths(entries: Mapping[str, _Entry]) -> Iterator[tuple[str, str]]:
    """Yield each folder with its path, from the top down; the root itself is never listed."""
    paths: dict[str, str] = {}
    for at in entries:
        chain: dict[str, _Entry] = {}  # from the folder up to one whose path is known
        above: str | None = at
        while above not in paths and above not in chain and (entry := entries.get(above or "")):
            chain[above or ""] = entry
            above = entry.parent
        path = paths.get(above or "", "")
        for remote_id, entry in reversed(chain.items()):
            paths[remote_id] = path = _below(path, entry)
            yield remote_id, path


def _below(path: str, entry: _Entry) -> str:
    """Return the path of a folder in the one with this path; at the top that is empty."""
    name = escaped(entry.name or "")
    return (f"{path}{SEPARATOR}{name}" if path else name)[:MAX_PATH_CHARS]


def _has_news(items: Mapping[str, Mapping[str, Any]], known: Sequence[StoredFolder]) -> bool:
    """Return whether the items change more than counts."""
    stored = {folder.remote_id: folder for folder in known}
    for remote_id, item in items.items():
        folder, entry = stored.get(remote_id), _Entry(item)
        if folder is None:
            if entry.is_synced and not is_removed(item):
                return True
            continue
        parent = stored.get(entry.parent or "")
        path = _below(parent.path if parent else "", entry)
        if is_removed(item) or not entry.is_synced or path != folder.path:
            return True
    return False
