"""Recognises stored messages under their new UIDs, so a folder made anew is not downloaded again.

A message is recognised by Message-ID, size and INTERNALDATE together, and only when that is
unique on both sides; what is not recognised is fetched like any other.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from emailsync.domain.pages import Adoption, FetchedPage, PageChanges
from emailsync.domain.uid_set import UidSet
from emailsync.ports import Fingerprint
from emailsync.providers.imap.connection import ImapConnection
from emailsync.providers.imap.fetching import FetchedFingerprint
from emailsync.providers.imap.folder_state import FolderState

WINDOW: Final = 500  #: messages looked at by one command, adopted by one page

Key = tuple[str, int, datetime]


@dataclass(slots=True)
class Adopter:
    """Goes through the UIDs of one folder's new generation."""

    connection: ImapConnection
    left: list[int] = field(default_factory=list)  #: what was not recognised, in the order given

    async def pages(
        self, state: FolderState, waiting: Sequence[Fingerprint], uids: Sequence[int]
    ) -> AsyncGenerator[FetchedPage]:
        """Yield adoptions of waiting rows; afterwards `left` holds the UIDs still to be fetched."""
        rows = _unique({print_.message_id: _key(print_) for print_ in waiting})
        seen: dict[int, FetchedFingerprint] = {}
        for start in range(0, len(uids), WINDOW):
            window = UidSet.of(uids[start : start + WINDOW])
            async for item in self.connection.fetch_fingerprints(window):
                seen[item.overview.uid] = item
        recognised = {
            uid: rows[key]
            for key, uid in _unique({uid: _seen_key(item) for uid, item in seen.items()}).items()
            if key in rows
        }
        self.left = [uid for uid in uids if uid not in recognised]
        found = list(recognised)
        for start in range(0, len(found), WINDOW):
            yield FetchedPage(
                changes=PageChanges(
                    adoptions=[
                        Adoption(
                            message_id=recognised[uid],
                            remote_id=state.name(uid),
                            placements=state.place(uid),
                            flags=seen[uid].overview.flags,
                        )
                        for uid in found[start : start + WINDOW]
                    ]
                )
            )


def _key(known: Fingerprint) -> Key | None:
    if known.header_message_id is None or known.received_at is None:
        return None
    return known.header_message_id, known.size_bytes, known.received_at


def _seen_key(seen: FetchedFingerprint) -> Key | None:
    received_at = seen.overview.received_at
    if seen.header_message_id is None or received_at is None:
        return None
    return seen.header_message_id, seen.overview.size_bytes, received_at


def _unique(keys: dict[int, Key | None]) -> dict[Key, int]:
    """Return the owners of keys that exactly one owner has."""
    owners: dict[Key, int] = {}
    shared: set[Key] = set()
    for owner, key in keys.items():
        if key is None:
            continue
        if key in owners:
            shared.add(key)
        owners[key] = owner
    return {key: owner for key, owner in owners.items() if key not in shared}
