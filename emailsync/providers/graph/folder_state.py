"""The folders of one session: what is stored of each, and the cursor as of the last page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from emailsync.domain.folders import FolderCursor, FolderId, FolderRole, StoredFolder
from emailsync.domain.pages import FetchedPage

_LAST: Final = (FolderRole.TRASH, FolderRole.JUNK)


@dataclass(slots=True)
class FolderState:
    """Mutable: a session moves the cursor with each page it yields."""

    stored: StoredFolder
    total: int | None = None  #: messages in it as a listing said; None: not listed lately
    cursor: FolderCursor = field(init=False)
    fresh_link: str | None = None  #: of a round without news: worth storing, but not a row alone
    listed: set[str] | None = None  #: ids of a full round so far, if this session began it
    relisted: set[str] | None = None  #: ids of a second listing
    left: int = 0  #: messages said to have left it in this session
    touched: bool = field(init=False)  #: its count has to be checked: something changed
    failed: bool = False  #: left alone for the rest of this session

    def __post_init__(self) -> None:
        self.cursor = self.stored.cursor
        self.touched = self.stored.check_due

    @property
    def id(self) -> FolderId:
        """The folder's id in the store."""
        return self.stored.id

    @property
    def remote_id(self) -> str:
        """The folder's id at Graph."""
        return self.stored.remote_id

    @property
    def is_complete(self) -> bool:
        """Whether a full round has been to its end: only changes are asked for since."""
        return self.cursor.delta_link is not None

    @property
    def is_blank(self) -> bool:
        """Whether nothing is stored of it that a full round would not show."""
        cursor = self.stored.cursor
        return (cursor.delta_link, cursor.resume_link, self.stored.remote_count) == (None,) * 3

    @property
    def size(self) -> int:
        """About how many messages a round may tell of."""
        return max(self.total or 0, self.stored.stored_count, self.stored.remote_count or 0)

    @property
    def turn(self) -> tuple[int, str]:
        """When it is looked at: the inbox first, what is thrown away last."""
        role = self.stored.role
        first = {FolderRole.INBOX: 0} | dict.fromkeys(_LAST, 2)
        return (first.get(role, 1) if role else 1), self.stored.path

    def move(self, **links: Any) -> Mapping[FolderId, FolderCursor]:
        """Replace links of the cursor; return it as a page carries it."""
        self.cursor = replace(self.cursor, **links)
        return {self.id: self.cursor}

    def fall_back(self) -> Mapping[FolderId, FolderCursor]:
        """Give up the link that expired: go on from the last whole round, or from nothing."""
        whole = self.cursor.delta_link if self.cursor.resume_link else None
        return self.move(delta_link=whole, resume_link=None)


@dataclass(slots=True)
class FolderMap:
    """All folders that are synced, by our name and by Graph's."""

    _states: dict[FolderId, FolderState] = field(default_factory=dict)
    _ids: dict[str, FolderId] = field(default_factory=dict)
    _unmarked: set[FolderId] = field(default_factory=set)  #: touched, which no page says yet

    def update(self, folders: Iterable[StoredFolder], totals: Mapping[str, int]) -> None:
        """Take over a listing; folders that are known keep their state."""
        listed = list(folders)
        states = {
            folder.id: self._states.get(folder.id)
            or FolderState(folder, totals.get(folder.remote_id))
            for folder in listed
        }
        self._states = states
        self._ids = {folder.remote_id: folder.id for folder in listed}

    def in_turn(self) -> list[FolderState]:
        """Return all folders, in the order in which they are looked at."""
        return sorted(self._states.values(), key=lambda state: state.turn)

    def state(self, folder: FolderId) -> FolderState | None:
        """Return the state of a folder; None: it is gone."""
        return self._states.get(folder)

    def named(self, remote_id: str | None) -> FolderId | None:
        """Return our name of the folder that Graph calls so; None: it is not synced."""
        return self._ids.get(remote_id) if remote_id else None

    def touch(self, folders: Iterable[FolderId]) -> None:
        """Note that something changed in these."""
        for folder in folders:
            state = self._states.get(folder)
            if state is not None and not state.touched:
                state.touched = True
                self._unmarked.add(folder)

    def marked(self, page: FetchedPage) -> FetchedPage:
        """Return the page that says which folders are touched, but for the one it checks."""
        unchecked, self._unmarked = self._unmarked, set()
        if page.changes.check is not None:
            unchecked.discard(page.changes.check.folder_id)
        if not unchecked:
            return page
        return replace(page, changes=replace(page.changes, unchecked=unchecked))
