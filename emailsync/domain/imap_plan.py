"""What an IMAP folder needs, decided from what is stored and what the server says of it."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Final

from emailsync.domain.folders import FolderCursor, FolderId, RemoteFolder, StoredFolder

MAX_GENERATIONS: Final = 5  #: in a row, before a folder is parked
PARKED_FOR: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxStatus:
    """A STATUS answer (RFC 9051 section 6.3.11); None: the server left the item out."""

    uid_validity: int | None = None
    uid_next: int | None = None
    messages: int | None = None
    highest_modseq: int | None = None


class FolderWork(Enum):
    """What has to be done in a folder that was selected."""

    START = auto()  #: never synced: everything below UIDNEXT is backfill
    NEW_GENERATION = auto()  #: its UIDs mean something else now: recognise, fetch the rest
    CATCH_UP = auto()  #: flags, removals and new mail since the cursor


def is_unchanged(stored: StoredFolder, status: MailboxStatus | None) -> bool:
    """Return whether the folder can be skipped without selecting it.

    Only a modification sequence tells of flag changes (RFC 7162 section 3.1), so a server
    without one is never skipped; nor is a folder whose count differs from the server's, or of
    which messages are to be asked for again.
    """
    cursor = stored.cursor
    return (
        status is not None
        and status.highest_modseq is not None
        and cursor.backfill_before is None
        and not stored.quarantine_due
        and status.uid_validity == cursor.uid_validity
        and status.uid_next == cursor.uid_next
        and status.highest_modseq == cursor.highest_modseq
        and status.messages == stored.remote_count == stored.stored_count
    )


def is_parked(stored: StoredFolder) -> bool:
    """Return whether the folder is left alone for now: some servers let no UIDVALIDITY stay.

    Each change costs a look at every message, so after the fifth in a row it is tried once a day.
    """
    since = stored.since_generation
    return stored.generations >= MAX_GENERATIONS and since is not None and since < PARKED_FOR


def work_of(cursor: FolderCursor, *, uid_validity: int, uid_next: int) -> FolderWork:
    """Return what a folder needs, given what selecting it said.

    Any other UIDVALIDITY is a new generation, a lower one too: RFC 9051 asks servers to make it
    grow, and not all do. A UIDNEXT that went back means that UIDs are being used twice.
    """
    if cursor.uid_validity is None or cursor.uid_next is None:
        return FolderWork.START
    if uid_validity != cursor.uid_validity or uid_next < cursor.uid_next:
        return FolderWork.NEW_GENERATION
    return FolderWork.CATCH_UP


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingDiff:
    """A LIST answer against the stored folders."""

    known: Sequence[StoredFolder]  #: listed and stored under the same name
    fresh: Sequence[RemoteFolder]  #: listed, not stored: new, or the new name of a missing one
    missing: Sequence[StoredFolder]  #: stored, not listed
    relabelled: Sequence[RemoteFolder]  #: known, with another path or role than stored
    back: Sequence[RemoteFolder]  #: known, and missing from the last listing


def compare_listing(
    listed: Collection[RemoteFolder], stored: Collection[StoredFolder]
) -> ListingDiff:
    """Compare by `remote_id`, the raw name."""
    listed_by_id = {folder.remote_id: folder for folder in listed}
    stored_by_id = {folder.remote_id: folder for folder in stored}
    known = [folder for folder in stored if folder.remote_id in listed_by_id]
    return ListingDiff(
        known=known,
        fresh=[folder for folder in listed_by_id.values() if folder.remote_id not in stored_by_id],
        missing=[folder for folder in stored if folder.remote_id not in listed_by_id],
        relabelled=[
            listed_by_id[folder.remote_id]
            for folder in known
            if (folder.path, folder.role)
            != (listed_by_id[folder.remote_id].path, listed_by_id[folder.remote_id].role)
        ],
        back=[listed_by_id[folder.remote_id] for folder in known if folder.missing_count],
    )


def rename_candidates(
    missing: Collection[StoredFolder],
    fresh: Collection[RemoteFolder],
    status: Mapping[str, MailboxStatus],
) -> Mapping[FolderId, RemoteFolder]:
    """Return which missing folders may live on under which fresh name; to be verified.

    A rename keeps UIDVALIDITY and never lowers UIDNEXT. Several folders made in one second can
    share a UIDVALIDITY, so only a match that is unique on both sides is a candidate.

    Args:
        missing: stored folders that the listing does not show.
        fresh: listed folders that are not stored.
        status: of the fresh folders, by remote_id.
    """
    by_validity: dict[int, list[RemoteFolder]] = {}
    for new in fresh:
        now = status.get(new.remote_id)
        if now is not None and now.uid_validity is not None:
            by_validity.setdefault(now.uid_validity, []).append(new)
    pairs = [
        (old.id, new)
        for old in missing
        if old.cursor.uid_validity is not None
        for new in by_validity.get(old.cursor.uid_validity, ())
        if (status[new.remote_id].uid_next or 0) >= (old.cursor.uid_next or 0)
    ]
    olds = Counter(old_id for old_id, _ in pairs)
    news = Counter(new.remote_id for _, new in pairs)
    return {old_id: new for old_id, new in pairs if olds[old_id] == 1 and news[new.remote_id] == 1}
