"""Brings the stored folders in step with the server's listing: new, renamed, missing, gone.

A folder that a listing does not show is not gone yet: proxies with a broken back end list INBOX
alone, and some servers leave INBOX out. It is gone when the server says so of that very name, or
when three listings in a row did not show it and its name cannot be asked for.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from emailsync.domain.errors import FolderGone, ServerRefused
from emailsync.domain.folders import (
    FolderChanges,
    FolderId,
    FolderRename,
    FolderRole,
    RemoteFolder,
    StoredFolder,
)
from emailsync.domain.imap_plan import MailboxStatus, compare_listing, rename_candidates
from emailsync.domain.uid_set import UidSet
from emailsync.ports import StoredMail
from emailsync.providers.imap.connection import ImapConnection
from emailsync.providers.imap.folder_state import FolderState

INBOX: Final = "INBOX"  #: always there (RFC 9051 section 5.1), listed or not
ABSENCES: Final = 3  #: listings in a row, when the server will not speak of the folder itself
SAMPLE: Final = 5  #: messages compared before a rename is believed


@dataclass(slots=True)
class FolderDiscovery:
    """Lists the folders once a session."""

    connection: ImapConnection
    stored: StoredMail
    removed: bool = field(default=False, init=False)  #: folders went, and messages with them
    _status: dict[str, MailboxStatus] = field(default_factory=dict, init=False)
    _there: set[str] = field(default_factory=set, init=False)  #: names that can be selected

    async def states(self) -> list[FolderState]:
        """Return every selectable folder, inbox first, as stored after this listing."""
        remote = await self._listed()
        self._there = {folder.remote_id for folder in remote}
        states = [
            FolderState(folder, self._status.get(folder.remote_id))
            for folder in await self._saved(remote)
            if folder.remote_id in self._there
        ]
        return sorted(states, key=lambda state: not state.is_inbox)

    async def _listed(self) -> list[RemoteFolder]:
        """Return what the server lists, and the inbox in any case where it has one."""
        listed = [folder for folder in await self.connection.list_folders() if folder.selectable]
        self._status = {folder.remote_id: folder.status for folder in listed if folder.status}
        remote = [
            RemoteFolder(remote_id=folder.remote_id, path=folder.path, role=folder.role)
            for folder in listed
        ]
        if not any(folder.role is FolderRole.INBOX for folder in remote):
            with suppress(FolderGone, ServerRefused):
                self._status[INBOX] = await self.connection.status(INBOX)
                remote.append(RemoteFolder(remote_id=INBOX, path=INBOX, role=FolderRole.INBOX))
        return remote

    async def _saved(self, remote: Sequence[RemoteFolder]) -> Sequence[StoredFolder]:
        stored = await self.stored.folders()
        diff = compare_listing(remote, stored)
        if not (diff.fresh or diff.missing or diff.relabelled or diff.back):
            return stored
        renamed = await self._renames(diff.missing, diff.fresh)
        absent = [folder for folder in diff.missing if folder.id not in renamed]
        gone = [folder.id for folder in absent if await self._is_gone(folder)]
        self.removed = bool(gone)
        new_names = {folder.remote_id for folder in renamed.values()}
        return await self.stored.save_folders(
            FolderChanges(
                renamed=tuple(
                    FolderRename(folder_id=old, remote=new) for old, new in renamed.items()
                ),
                seen=(
                    *(folder for folder in diff.fresh if folder.remote_id not in new_names),
                    *diff.relabelled,
                    *diff.back,
                ),
                missing=tuple(
                    folder.id
                    for folder in absent
                    if folder.id not in gone and folder.remote_id not in self._there
                ),
                gone=tuple(gone),
            )
        )

    async def _is_gone(self, folder: StoredFolder) -> bool:
        try:
            self._status[folder.remote_id] = await self.connection.status(folder.remote_id)
        except FolderGone:
            return True
        except ServerRefused:
            return folder.missing_count + 1 >= ABSENCES
        self._there.add(folder.remote_id)  # the listing was not complete: it is synced as ever
        return False

    async def _renames(
        self, missing: Sequence[StoredFolder], fresh: Sequence[RemoteFolder]
    ) -> Mapping[FolderId, RemoteFolder]:
        if not missing or not fresh:
            return {}
        for folder in fresh:
            if folder.remote_id not in self._status:
                # Without an answer it is no candidate: it is synced as a new folder.
                with suppress(FolderGone, ServerRefused):
                    self._status[folder.remote_id] = await self.connection.status(folder.remote_id)
        by_id = {folder.id: folder for folder in missing}
        return {
            old: new
            for old, new in rename_candidates(missing, fresh, self._status).items()
            if await self._is_same(by_id[old], new)
        }

    async def _is_same(self, old: StoredFolder, new: RemoteFolder) -> bool:
        """Compare the oldest stored messages with what the new name holds under their UIDs."""
        placed = await self.stored.placements(old.id, from_uid=1, limit=SAMPLE)
        sample = [placement.uid for placement in placed if placement.uid is not None]
        if not sample:
            return old.stored_count == 0
        known = {
            print_.uid: (print_.header_message_id, print_.size_bytes)
            for print_ in await self.stored.fingerprints(old.id, uids=sample)
        }
        try:
            await self.connection.examine(new.remote_id, None)
        except (FolderGone, ServerRefused):
            return False
        there = {
            seen.overview.uid: (seen.header_message_id, seen.overview.size_bytes)
            async for seen in self.connection.fetch_fingerprints(UidSet.of(sample))
        }
        return bool(there) and all(known.get(uid) == seen for uid, seen in there.items())
