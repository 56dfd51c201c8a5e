"""Recognises stored messages under their new UIDs, so a folder made anew is not downloaded again.

A message is recognised by Message-ID, size and INTERNALDATE together, and only when that is
unique on both sides; what is not recognised is fetched like any other.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, Self

from emailsync.domain.pages import Adoption
from emailsync.domain.uid_set import UidSet
from emailsync.ports import Fingerprint
from emailsync.providers.imap.connection import ImapConnection
from emailsync.providers.imap.fetching import FetchedFingerprint
from emailsync.providers.imap.folder_state import FolderState

WINDOW: Final = 500  #: messages looked at by one command, adopted by one page
SLICE: Final = 5_000  #: rows gone through before others get their turn: some milliseconds

Key = tuple[str, int, datetime]


class Recognised(NamedTuple):
    """What came of some UIDs."""

    adoptions: Sequence[Adoption]
    left: Sequence[int]  #: to be fetched, in the order given


@dataclass(slots=True)
class Adopter:
    """Goes through the UIDs of one folder's new generation, a window at a time."""

    connection: ImapConnection
    waiting: int  #: rows that no UID was found for yet
    _rows: dict[Key, int]
    _taken: dict[Key, int] = field(default_factory=dict, init=False)

    @classmethod
    async def of(cls, connection: ImapConnection, waiting: Sequence[Fingerprint]) -> Self:
        """Return the adopter of these waiting rows."""
        keys: dict[int, Key | None] = {}
        for start in range(0, len(waiting), SLICE):
            keys |= {row.message_id: _key(row) for row in waiting[start : start + SLICE]}
            await asyncio.sleep(0)
        return cls(connection, len(waiting), await _unique(keys))

    async def recognise(self, state: FolderState, uids: Sequence[int]) -> Recognised:
        """Look at up to `WINDOW` UIDs; a row is given away once.

        Where another message turns up later that looks the same, it and the one that was given
        the row are both fetched: the bytes decide which of them the row is.
        """
        seen: dict[int, FetchedFingerprint] = {
            item.overview.uid: item
            async for item in self.connection.fetch_fingerprints(UidSet.of(uids))
        }
        keys = {uid: _seen_key(item) for uid, item in seen.items()}
        doubted = [self._taken[key] for key in keys.values() if key in self._taken]
        found: dict[int, int] = {}
        for key, uid in (await _unique(keys)).items():
            if key in self._rows:
                found[uid] = self._rows.pop(key)
                self._taken[key] = uid
        self.waiting -= len(found)
        return Recognised(
            _adoptions(state, found, seen), [*doubted, *(uid for uid in uids if uid not in found)]
        )


def _adoptions(
    state: FolderState, found: Mapping[int, int], seen: Mapping[int, FetchedFingerprint]
) -> Sequence[Adoption]:
    return [
        Adoption(
            message_id=row,
            remote_id=state.name(uid),
            placements=state.place(uid),
            flags=seen[uid].overview.flags,
        )
        for uid, row in found.items()
    ]


def _key(known: Fingerprint) -> Key | None:
    if known.header_message_id is None or known.received_at is None:
        return None
    return known.header_message_id, known.size_bytes, known.received_at


def _seen_key(seen: FetchedFingerprint) -> Key | None:
    received_at = seen.overview.received_at
    if seen.header_message_id is None or received_at is None:
        return None
    return seen.header_message_id, seen.overview.size_bytes, received_at


async def _unique(keys: Mapping[int, Key | None]) -> dict[Key, int]:
    """Return the owners of keys that exactly one owner has."""
    owners: dict[Key, int] = {}
    shared: set[Key] = set()
    for number, (owner, key) in enumerate(keys.items(), start=1):
        if number % SLICE == 0:
            await asyncio.sleep(0)
        if key is None or key in shared:
            continue
        if owners.pop(key, None) is not None:
            shared.add(key)
        else:
            owners[key] = owner
    return owners
