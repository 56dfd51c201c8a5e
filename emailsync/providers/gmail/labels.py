"""What Gmail's labels mean: which are folders or flags, and where a message without any lies.

A message is known by the set of its label ids; folders and flags follow from it and back. Pure.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from emailsync.domain.folders import FolderId, FolderRole, RemoteFolder, StoredFolder
from emailsync.domain.mail import Flags
from emailsync.domain.pages import Placement
from emailsync.ports import StoredMessage
from emailsync.providers.gmail.values import Label

UNREAD: Final = "UNREAD"
STARRED: Final = "STARRED"
DRAFT: Final = "DRAFT"
CHAT: Final = "CHAT"  #: messages of Hangouts, which are no mail
INBOX: Final = "INBOX"
FLAGS: Final = (UNREAD, STARRED)
NO_FOLDERS: Final = frozenset({*FLAGS, CHAT})
ROLES: Final = {
    INBOX: FolderRole.INBOX,
    "SENT": FolderRole.SENT,
    DRAFT: FolderRole.DRAFTS,
    "TRASH": FolderRole.TRASH,
    "SPAM": FolderRole.JUNK,
}
ARCHIVE: Final = RemoteFolder(remote_id="ARCHIVE", path="Archive", role=FolderRole.ARCHIVE)
"""A folder of ours for what has no label of a folder, lest it be taken for deleted."""


class LabelFolders:
    """The folders of the account by label id, as stored. Immutable."""

    def __init__(self, stored: Iterable[StoredFolder]) -> None:
        self.folders: Mapping[str, FolderId] = {folder.remote_id: folder.id for folder in stored}
        self._labels = {folder: label for label, folder in self.folders.items()}

    @property
    def archive(self) -> FolderId:
        """The folder of what has no label."""
        return self.folders[ARCHIVE.remote_id]

    def label_of(self, folder: FolderId) -> str | None:
        """Return the label that is this folder, of the archive its remote id; None: it is gone."""
        return self._labels.get(folder)

    def unknown(self, labels: Collection[str]) -> frozenset[str]:
        """Return the labels that are neither folders nor flags."""
        return frozenset(labels).difference(self.folders, NO_FOLDERS)

    def placements(self, labels: Collection[str]) -> tuple[Placement, ...]:
        """Return where a message with these labels lies."""
        ids = sorted(self.folders[label] for label in labels if label in self.folders)
        return tuple(map(Placement, ids or [self.archive]))

    def folders_of(self, labels: Collection[str]) -> frozenset[FolderId]:
        """Return the folders that a message with these labels lies in."""
        return frozenset(placement.folder_id for placement in self.placements(labels))

    def labels_of(self, message: StoredMessage) -> frozenset[str]:
        """Return the labels that a stored message has."""
        labels = {self._labels[folder] for folder in message.folders if folder in self._labels}
        labels.discard(ARCHIVE.remote_id)
        if not message.flags.is_read:
            labels.add(UNREAD)
        if message.flags.is_starred:
            labels.add(STARRED)
        return frozenset(labels)


def flags_of(labels: Collection[str]) -> Flags:
    """Return the flags of a message with these labels."""
    return Flags(
        is_read=UNREAD not in labels,
        is_starred=STARRED in labels,
        is_draft=DRAFT in labels,
    )


def folders_wanted(labels: Iterable[Label]) -> Iterator[RemoteFolder]:
    """Yield the folders that the mailbox has."""
    for label in labels:
        if label.id not in NO_FOLDERS and label.id != ARCHIVE.remote_id:
            yield RemoteFolder(remote_id=label.id, path=label.name, role=ROLES.get(label.id))
    yield ARCHIVE
