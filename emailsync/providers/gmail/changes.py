"""From what the history tells to what became of each message: replayed in order, then compared.

Whatever happened in between, only the last word on a label counts, so a history that is read twice,
or begins before a message was fetched, ends in the same state. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from emailsync.domain.pages import Adoption, FlagChange, PageChanges, PlacementChange
from emailsync.ports import StoredMessage
from emailsync.providers.gmail.labels import CHAT, LabelFolders, flags_of
from emailsync.providers.gmail.values import Event, EventKind


@dataclass(slots=True)
class MessageChange:
    """What the history tells of one message."""

    labels: dict[str, bool] = field(default_factory=dict)  #: label -> whether it has it in the end
    is_gone: bool = False  #: deleted for ever
    is_chat: bool = False

    def add(self, event: Event) -> None:
        """Replay one event."""
        match event.kind:
            case EventKind.ADDED:
                self.is_gone = False
                self.is_chat = CHAT in event.labels
            case EventKind.DELETED:
                self.is_gone = True
            case EventKind.LABELS_ADDED:
                self.labels.update(dict.fromkeys(event.labels, True))
            case EventKind.LABELS_REMOVED:
                self.labels.update(dict.fromkeys(event.labels, False))

    def applied_to(self, labels: frozenset[str]) -> frozenset[str]:
        """Return the labels of a message that had these when the history began, or later."""
        kept = {label for label in labels if self.labels.get(label, True)}
        return frozenset(kept.union(label for label, has in self.labels.items() if has))


def replayed(events: Iterable[Event], changes: dict[str, MessageChange]) -> None:
    """Replay events, oldest first, into `changes` by message id."""
    for event in events:
        changes.setdefault(event.message_id, MessageChange()).add(event)


@dataclass(slots=True)
class Differences:
    """How stored messages differ from what they should be; one page's worth."""

    placements: list[PlacementChange] = field(default_factory=list)
    flags: list[FlagChange] = field(default_factory=list)
    adoptions: list[Adoption] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)  #: labels whose number of messages changed

    def add(self, message: StoredMessage, labels: frozenset[str], folders: LabelFolders) -> None:
        """Note what has to change for a stored message to have these labels."""
        before = folders.labels_of(message)
        if message.folders and before == labels and folders.folders_of(labels) == message.folders:
            return
        self.touched |= before ^ labels
        flags = flags_of(labels)
        placements = folders.placements(labels)
        if not message.folders:  # it was given up before: its row is still there
            self.touched |= labels
            self.adoptions.append(
                Adoption(
                    message_id=message.message_id,
                    remote_id=message.remote_id,
                    placements=placements,
                    flags=flags,
                )
            )
            return
        if folders.folders_of(labels) != message.folders:
            self.placements.append(PlacementChange(message.remote_id, placements))
        if flags != message.flags:
            self.flags.append(FlagChange(message.remote_id, flags))

    def __bool__(self) -> bool:
        """Return whether anything differs."""
        return bool(self.placements or self.flags or self.adoptions)

    def changes(self) -> PageChanges:
        """Return what a page has to say of them."""
        return PageChanges(placements=self.placements, flags=self.flags, adoptions=self.adoptions)


def labels_named(changes: Mapping[str, MessageChange]) -> frozenset[str]:
    """Return every label that a message got."""
    return frozenset(
        label for change in changes.values() for label, has in change.labels.items() if has
    )
