"""One folder during one session: what is stored of it, and the cursor as of the last page."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from emailsync.domain.folders import FolderCursor, FolderId, FolderRole, StoredFolder
from emailsync.domain.imap_plan import MailboxStatus
from emailsync.domain.pages import Placement, imap_remote_id
from emailsync.providers.imap.connection import Examined


@dataclass(slots=True)
class FolderState:
    """Mutable: a session moves the cursor with each page it yields."""

    stored: StoredFolder
    status: MailboxStatus | None  #: from the listing; None: the server gave none
    cursor: FolderCursor = field(init=False)
    seen: Examined | None = None  #: what selecting it said last
    has_new: bool = False  #: mail arrived since the cursor, as far as selecting it told
    failed: bool = False  #: left alone for the rest of this session
    touched: bool = False  #: its cursor moved: its count has to be checked

    def __post_init__(self) -> None:
        self.cursor = self.stored.cursor

    @property
    def id(self) -> FolderId:
        """The folder's id in the store."""
        return self.stored.id

    @property
    def remote_id(self) -> str:
        """The raw name on the server."""
        return self.stored.remote_id

    @property
    def is_complete(self) -> bool:
        """Whether it was begun, and all that lay there then has been fetched."""
        return self.cursor.uid_validity is not None and self.cursor.backfill_before is None

    @property
    def is_inbox(self) -> bool:
        """Whether the account-level marker follows this folder."""
        return self.stored.role is FolderRole.INBOX

    def move(self, **changes: Any) -> Mapping[FolderId, FolderCursor]:
        """Move the cursor; return it as a page carries it."""
        moved = replace(self.cursor, **changes)
        if moved == self.cursor:
            return {}
        self.cursor = moved
        self.touched = True
        return {self.id: moved}

    def name(self, uid: int) -> str:
        """Return the remote id of a message of the folder's present generation."""
        assert self.cursor.uid_validity is not None, "a folder is selected before it is read"
        return imap_remote_id(self.id, self.cursor.uid_validity, uid)

    def place(self, uid: int) -> tuple[Placement, ...]:
        """Return where a message of this folder lies: here alone, for a copy has its own name."""
        return (Placement(self.id, uid),)
