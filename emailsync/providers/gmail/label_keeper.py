"""Keeps the account's folders in step with the mailbox's labels.

A renamed label keeps its id, and its folder with it; a deleted one leaves its messages where else
they lie, or in the archive. History tells of neither.
"""

from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from emailsync.domain.errors import ServerRefused
from emailsync.domain.folders import FolderChanges, RemoteFolder, StoredFolder
from emailsync.domain.pages import FetchedPage
from emailsync.loop_rounds import in_pieces
from emailsync.ports import StoredMail
from emailsync.providers.gmail.api import GmailApi
from emailsync.providers.gmail.changes import Differences
from emailsync.providers.gmail.inventory import windows
from emailsync.providers.gmail.labels import FLAGS, INBOX, LabelFolders, folders_wanted


@dataclass(slots=True)
class LabelKeeper:
    """The folders of one session; call `update` before anything else."""

    api: GmailApi
    stored: StoredMail
    folders: LabelFolders = field(default_factory=lambda: LabelFolders(()), init=False)
    touched: set[str] = field(default_factory=set, init=False)
    """Labels whose number of messages may have changed since it was checked."""
    quarantine_due: bool = field(default=False, init=False)
    _deleted: set[str] = field(default_factory=set, init=False)  #: named by history, gone since
    _unmarked: set[str] = field(default_factory=set, init=False)  #: touched, which no page says yet

    async def update(self) -> AsyncGenerator[FetchedPage]:
        """List the labels; yield where the messages of deleted ones lie now, and save the rest.

        Raises:
            ServerRefused: the list is not whole.
        """
        known = await self.stored.folders()
        self.quarantine_due = any(folder.quarantine_due for folder in known)
        self.touched.update(folder.remote_id for folder in known if folder.check_due)
        wanted = await self._listed()
        if _gone(known, wanted):
            wanted = await self._listed()  # an unlucky answer must not empty folders
        if news := _news(known, wanted):
            known = await self.stored.save_folders(FolderChanges(seen=news))
        self.folders = LabelFolders(known)
        self.touch(folder.remote_id for folder in news)
        if gone := _gone(known, wanted):
            async for page in self._emptied(gone):
                yield page
            ids = tuple(folder.id for folder in gone)
            self.folders = LabelFolders(await self.stored.save_folders(FolderChanges(gone=ids)))

    async def learn(self, labels: Collection[str]) -> None:
        """Make sure of the folders of these labels: one may be newer than the list."""
        if not self.folders.unknown(labels) - self._deleted:
            return
        known = await self.stored.folders()
        if news := _news(known, await self._listed()):
            known = await self.stored.save_folders(FolderChanges(seen=news))
            self.folders = LabelFolders(known)
        self._deleted |= self.folders.unknown(labels)

    def touch(self, labels: Iterable[str]) -> None:
        """Take the number of messages of these labels for changed."""
        new = set(labels).difference(self.touched, FLAGS)
        self.touched |= new
        self._unmarked |= new

    def note(self, differences: Differences) -> FetchedPage:
        """Return the page of these differences; their labels are touched."""
        self.touch(differences.touched)
        return FetchedPage(changes=differences.changes())

    def marked(self, page: FetchedPage) -> FetchedPage:
        """Return the page that says which labels are touched, but for the one it checks."""
        check = page.changes.check
        if check is not None:
            checked = {self.folders.label_of(check.folder_id)}
            self.touched -= checked
            self._unmarked -= checked
        labels, self._unmarked = self._unmarked, set()
        folders = self.folders.folders
        unchecked = [folders[label] for label in labels if label in folders]
        if not unchecked:
            return page
        return replace(page, changes=replace(page.changes, unchecked=unchecked))

    async def _listed(self) -> Sequence[RemoteFolder]:
        wanted = await in_pieces(folders_wanted(await self.api.labels()))
        if not any(folder.remote_id == INBOX for folder in wanted):
            raise ServerRefused("Gmail's list of labels is not whole: it has no inbox")
        return wanted

    async def _emptied(self, gone: Sequence[StoredFolder]) -> AsyncGenerator[FetchedPage]:
        """Yield where the messages of these folders lie without them."""
        names = {folder.remote_id for folder in gone}
        for folder in gone:
            async for window in windows(self.stored, folder.id):
                differences = Differences()
                for message in window:
                    labels = self.folders.labels_of(message) - names
                    differences.add(message, labels, self.folders)
                yield self.note(differences)
        self.touched -= names


def _news(
    known: Sequence[StoredFolder], wanted: Sequence[RemoteFolder]
) -> tuple[RemoteFolder, ...]:
    """Return what is not stored yet, or under another name."""
    stored = {(folder.remote_id, folder.path, folder.role) for folder in known}
    return tuple(
        folder for folder in wanted if (folder.remote_id, folder.path, folder.role) not in stored
    )


def _gone(known: Sequence[StoredFolder], wanted: Sequence[RemoteFolder]) -> Sequence[StoredFolder]:
    """Return the folders whose labels are deleted."""
    names = {folder.remote_id for folder in wanted}
    return [folder for folder in known if folder.remote_id not in names]
