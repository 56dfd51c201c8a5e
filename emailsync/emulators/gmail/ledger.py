"""What lies in the emulated Gmail mailboxes: the truth that a client's result is held against.

Everything that can happen to mail happens here, with the history that Gmail would write of it.
Knows nothing of HTTP.
"""

import re
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random

from emailsync.emulators.gmail.history import History, HistoryRecord
from emailsync.emulators.mail_generator import (
    FIRST_SENT_AT,
    MEAN_GAP,
    ancestors,
    generate,
    message_id,
)

INBOX, SENT, DRAFT, TRASH, SPAM = "INBOX", "SENT", "DRAFT", "TRASH", "SPAM"
UNREAD, STARRED, IMPORTANT = "UNREAD", "STARRED", "IMPORTANT"
SYSTEM_LABELS = (
    *(INBOX, SENT, DRAFT, TRASH, SPAM, UNREAD, STARRED, IMPORTANT, "CHAT"),
    *(f"CATEGORY_{name}" for name in ("PERSONAL", "SOCIAL", "PROMOTIONS", "UPDATES", "FORUMS")),
)
FIRST_MESSAGE_ID = 0x18C0000000000000  #: ids are unique in a mailbox only: others have the same

_THREADING = re.compile(
    rb"^(message-id|in-reply-to|references):((?:[^\r\n]|\r?\n[ \t])*)", re.IGNORECASE | re.MULTILINE
)
_MESSAGE_ID = re.compile(rb"<[^<>\s]+>")


class NoSuchItem(LookupError):
    """The mailbox has no such message or label."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label of a mailbox."""

    id: str
    name: str
    is_system: bool = False


@dataclass(frozen=True, slots=True)
class Generated:
    """The content of a message that is made anew each time it is read."""

    seed: int
    index: int
    recipient: str
    sent_at: datetime

    def raw(self) -> bytes:
        """Return the bytes, always the same."""
        mail = generate(self.seed, self.index, recipient=self.recipient, sent_at=self.sent_at)
        return mail.raw


@dataclass(slots=True)
class GmailMessage:
    """A message; what changes of it are its labels."""

    id: str
    thread_id: str
    labels: frozenset[str]
    internal_date: int  #: milliseconds since 1970
    history_id: int  #: of the last change
    content: bytes | Generated

    @property
    def raw(self) -> bytes:
        """Return the message byte for byte."""
        return self.content if isinstance(self.content, bytes) else self.content.raw()


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How many messages and threads have a label."""

    messages: int
    unread_messages: int
    threads: int
    unread_threads: int


class GmailMailbox:
    """One user's mail. Message ids, thread ids and label ids are Gmail's."""

    def __init__(self, address: str, *, seed: int = 0) -> None:
        self.address = address
        self.messages: dict[str, GmailMessage] = {}
        self.labels = {name: Label(name, name, is_system=True) for name in SYSTEM_LABELS}
        self.history = History(Random(f"gmail/{address}"))
        self._seed = seed
        self._generated = 0
        self._last_message_id = FIRST_MESSAGE_ID
        self._last_label_number = 0
        self._threads: dict[str, str] = {}  #: Message-ID -> thread id
        self._order: list[tuple[int, str]] = []  #: internal date and id, ascending
        self._counts: Mapping[str, LabelCounts] | None = None  #: None: to be counted anew

    def newest_first(self, *, before: tuple[int, str] | None = None) -> Iterator[tuple[int, str]]:
        """Return internal date and id of all messages in the order of a listing.

        With `before`, another date and id, it begins behind those, which may be gone.
        """
        end = len(self._order) if before is None else bisect_left(self._order, before)
        return (self._order[at] for at in range(end - 1, -1, -1))

    def deliver(
        self,
        raw: bytes,
        labels: Collection[str] = (INBOX, UNREAD),
        *,
        internal_date: datetime | None = None,
    ) -> str:
        """Let a message arrive; return its id. Without a date it arrives now."""
        header = raw.partition(b"\r\n\r\n")[0]
        found = {name.lower(): value for name, value in _THREADING.findall(header)}
        own, replied_to, references = (
            [identifier.decode("latin-1") for identifier in _MESSAGE_ID.findall(value)]
            for value in (found.get(name, b"") for name in _THREADING_NAMES)
        )
        return self._add(raw, own[:1], references + replied_to, labels, internal_date)

    def deliver_generated(
        self,
        labels: Collection[str] = (INBOX, UNREAD),
        *,
        at: datetime | None = None,
        keep: bool = False,
    ) -> str:
        """Let the generator's next message arrive, now or `at`; return its id.

        Args:
            labels: what it gets.
            at: aware; None: now.
            keep: hold its bytes in memory, instead of making them whenever they are read.
        """
        index = self._generated
        self._generated += 1
        sent_at = at or datetime.now(UTC)
        content = Generated(self._seed, index, self.address, sent_at)
        references = [message_id(self._seed, other) for other in ancestors(self._seed, index)]
        return self._add(
            content.raw() if keep else content,
            [message_id(self._seed, index)],
            references,
            labels,
            sent_at,
        )

    def fill(self, count: int, labels: Iterable[Collection[str]], *, keep: bool = False) -> None:
        """Put old mail in, one message for each element of `labels`; history begins behind it."""
        for _, of_message in zip(range(count), labels, strict=False):
            sent_at = FIRST_SENT_AT + (self._generated + 0.5) * MEAN_GAP
            self.deliver_generated(of_message, at=sent_at, keep=keep)
        self.history.expire()

    def modify(
        self, message: str, *, add: Collection[str] = (), remove: Collection[str] = ()
    ) -> None:
        """Change labels; what is so already is no change and leaves no record."""
        changed = self._message(message)
        for label in (*add, *remove):
            self._label(label)
        added = frozenset(add) - changed.labels
        removed = (frozenset(remove) & changed.labels) - added
        if added or removed:
            changed.labels = (changed.labels | added) - removed
            self._record(changed, labels_added=added, labels_removed=removed)

    def mark_read(self, message: str) -> None:
        """Remove UNREAD."""
        self.modify(message, remove=[UNREAD])

    def mark_unread(self, message: str) -> None:
        """Add UNREAD."""
        self.modify(message, add=[UNREAD])

    def star(self, message: str) -> None:
        """Add STARRED."""
        self.modify(message, add=[STARRED])

    def unstar(self, message: str) -> None:
        """Remove STARRED."""
        self.modify(message, remove=[STARRED])

    def archive(self, message: str) -> None:
        """Take it out of the inbox."""
        self.modify(message, remove=[INBOX])

    def trash(self, message: str) -> None:
        """Put it into the trash, out of the inbox; the other labels stay."""
        self.modify(message, add=[TRASH], remove=[INBOX])

    def untrash(self, message: str) -> None:
        """Take it out of the trash."""
        self.modify(message, remove=[TRASH])

    def mark_spam(self, message: str) -> None:
        """Call it spam, out of the inbox."""
        self.modify(message, add=[SPAM], remove=[INBOX])

    def delete(self, message: str) -> None:
        """Delete it for ever."""
        gone = self._message(message)
        del self.messages[message]
        self._order.remove((gone.internal_date, gone.id))
        self._record(gone, is_deleted=True)

    def save_draft(self, raw: bytes, *, replaces: str | None = None) -> str:
        """Save a draft; return its id, which is a new one each time it is saved."""
        if replaces is not None:
            self.delete(replaces)
        return self.deliver(raw, [DRAFT])

    def create_label(self, name: str) -> str:
        """Make a label; return its id."""
        self._last_label_number += 1
        label = Label(f"Label_{self._last_label_number}", name)
        self.labels[label.id] = label
        self._counts = None
        return label.id

    def rename_label(self, label: str, name: str) -> None:
        """Rename a label; history says nothing of it."""
        self.labels[label] = replace(self._own_label(label), name=name)

    def delete_label(self, label: str, *, recorded: bool = False) -> None:
        """Delete a label and take it off all messages; history says so only if `recorded`."""
        self._own_label(label)
        for message in self.messages.values():
            if label in message.labels:
                message.labels -= {label}
                if recorded:
                    self._record(message, labels_removed=frozenset({label}))
        del self.labels[label]
        self._counts = None

    def expire_history(self) -> None:
        """Forget the history: every history id that a client may hold is too old."""
        self.history.expire()

    def counts(self, label: str) -> LabelCounts:
        """Return how many messages have the label."""
        self._label(label)
        if self._counts is None:
            self._counts = _count(self.messages.values())
        return self._counts.get(label, LabelCounts(0, 0, 0, 0))

    def _add(
        self,
        content: bytes | Generated,
        own_id: Collection[str],
        references: Collection[str],
        labels: Collection[str],
        internal_date: datetime | None,
    ) -> str:
        for label in labels:
            self._label(label)
        self._last_message_id += 1 + self._last_message_id % 7
        identifier = f"{self._last_message_id:016x}"
        names = (*references, *own_id)  # a second copy joins the thread of the first
        known = (self._threads[name] for name in names if name in self._threads)
        message = GmailMessage(
            id=identifier,
            thread_id=next(known, identifier),
            labels=frozenset(labels),
            internal_date=round((internal_date or datetime.now(UTC)).timestamp() * 1000),
            history_id=0,
            content=content,
        )
        for name in names:
            self._threads.setdefault(name, message.thread_id)
        self.messages[identifier] = message
        insort(self._order, (message.internal_date, identifier))
        self._record(message, is_new=True)
        return identifier

    def _record(
        self,
        message: GmailMessage,
        *,
        is_new: bool = False,
        is_deleted: bool = False,
        labels_added: frozenset[str] = frozenset(),
        labels_removed: frozenset[str] = frozenset(),
    ) -> None:
        message.history_id = self.history.next_id()
        self._counts = None
        self.history.append(
            HistoryRecord(
                id=message.history_id,
                message_id=message.id,
                thread_id=message.thread_id,
                labels=message.labels,
                is_new=is_new,
                is_deleted=is_deleted,
                labels_added=labels_added,
                labels_removed=labels_removed,
            )
        )

    def _message(self, message: str) -> GmailMessage:
        if message not in self.messages:
            raise NoSuchItem(f"no message {message}")
        return self.messages[message]

    def _label(self, label: str) -> Label:
        if label not in self.labels:
            raise NoSuchItem(f"no label {label}")
        return self.labels[label]

    def _own_label(self, label: str) -> Label:
        """Return a label that is the user's to change."""
        found = self._label(label)
        if found.is_system:
            raise NoSuchItem(f"{label} is a system label")
        return found


_THREADING_NAMES = (b"message-id", b"in-reply-to", b"references")


def _count(messages: Iterable[GmailMessage]) -> Mapping[str, LabelCounts]:
    counts: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    threads: tuple[set[tuple[str, str]], set[tuple[str, str]]] = set(), set()
    for message in messages:
        pairs = {(label, message.thread_id) for label in message.labels}
        for is_in in (0, 1) if UNREAD in message.labels else (0,):
            counts[is_in].update(message.labels)
            threads[is_in].update(pairs)
    of_threads = [Counter(label for label, _ in pairs) for pairs in threads]
    return {
        label: LabelCounts(count, counts[1][label], of_threads[0][label], of_threads[1][label])
        for label, count in counts[0].items()
    }


class GmailLedger:
    """All mailboxes of the provider, by address."""

    def __init__(self) -> None:
        self.mailboxes: dict[str, GmailMailbox] = {}

    def add_mailbox(self, address: str, *, seed: int = 0) -> GmailMailbox:
        """Make an empty mailbox; `seed` is that of the mail generated for it."""
        self.mailboxes[address] = GmailMailbox(address, seed=seed)
        return self.mailboxes[address]
