"""The history of one Gmail mailbox: what changed, in order, under ids that grow with gaps.

Old records can be forgotten, as Gmail does after a week or sooner; asking from before is refused.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random

#: The first ids have fewer digits than those that follow soon: comparing them as text goes wrong.
FIRST_ID = 99_950
MAX_GAP = 9


class HistoryExpired(Exception):
    """The start is older than what is remembered, or was never an id of this mailbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRecord:
    """One operation on one message."""

    id: int
    message_id: str
    thread_id: str
    labels: frozenset[str]  #: after the operation; of a deleted message, what it had
    is_new: bool = False
    is_deleted: bool = False
    labels_added: frozenset[str] = frozenset()
    labels_removed: frozenset[str] = frozenset()

    @property
    def kinds(self) -> frozenset[str]:
        """Return the history types that this record is of."""
        kinds = {
            "messageAdded": self.is_new,
            "messageDeleted": self.is_deleted,
            "labelAdded": bool(self.labels_added),
            "labelRemoved": bool(self.labels_removed),
        }
        return frozenset(kind for kind, is_of in kinds.items() if is_of)

    def concerns(self, label: str) -> bool:
        """Say whether the label was on the message before or after."""
        return label in self.labels or label in self.labels_removed


class History:
    """The records, from the oldest that is remembered."""

    def __init__(self, random: Random) -> None:
        self.current_id = FIRST_ID
        self._random = random
        self._valid_from = FIRST_ID
        self._records: list[HistoryRecord] = []

    def next_id(self) -> int:
        """Return a new id, which is the mailbox's current one from now on."""
        self.current_id += self._random.randint(1, MAX_GAP)
        return self.current_id

    def append(self, record: HistoryRecord) -> None:
        """Remember a record; its id is the newest."""
        self._records.append(record)

    def expire(self) -> None:
        """Forget everything: every id that was given out so far is too old."""
        self._records.clear()
        self._valid_from = self.next_id()

    def after(
        self, start: int, *, kinds: Collection[str], label: str | None, limit: int
    ) -> tuple[Sequence[HistoryRecord], bool]:
        """Return up to `limit` records behind `start`, and whether there are more.

        Args:
            start: an id that was once current.
            kinds: only records of one of these types; empty: of any.
            label: only records of messages that have or had it; None: of any.
            limit: at least 1.

        Raises:
            HistoryExpired: see there.
        """
        if not self._valid_from <= start <= self.current_id:
            raise HistoryExpired
        found: list[HistoryRecord] = []
        for at in range(bisect_right(self._records, start, key=_id), len(self._records)):
            record = self._records[at]
            if kinds and record.kinds.isdisjoint(kinds):
                continue
            if label is not None and not record.concerns(label):
                continue
            if len(found) == limit:
                return found, True
            found.append(record)
        return found, False


def _id(record: HistoryRecord) -> int:
    return record.id
