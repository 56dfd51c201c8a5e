"""Whatever the history tells, and however often, a message ends up with its last labels."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from emailsync.domain.folders import FolderCursor, FolderId, FolderRole, StoredFolder
from emailsync.domain.mail import Flags
from emailsync.domain.pages import Placement
from emailsync.ports import StoredMessage
from emailsync.providers.gmail.changes import Differences, MessageChange, replayed
from emailsync.providers.gmail.labels import LabelFolders, flags_of, folders_wanted
from emailsync.providers.gmail.values import Event, EventKind, Label

LABELS = ("INBOX", "UNREAD", "STARRED", "A", "B")
KINDS = (EventKind.LABELS_ADDED, EventKind.LABELS_REMOVED)

label_sets = st.frozensets(st.sampled_from(LABELS), min_size=1, max_size=3)
events = st.lists(st.builds(Event, st.sampled_from(KINDS), st.just("m"), label_sets), max_size=8)


def stored_folder(number: int, remote_id: str) -> StoredFolder:
    return StoredFolder(
        id=FolderId(number),
        remote_id=remote_id,
        path=remote_id,
        role=None,
        cursor=FolderCursor(),
        stored_count=0,
        remote_count=None,
        missing_count=0,
    )


FOLDERS = LabelFolders(
    [stored_folder(n, name) for n, name in enumerate(("ARCHIVE", "INBOX", "A", "B", "DRAFT"), 1)]
)


def stored_message(labels: frozenset[str]) -> StoredMessage:
    return StoredMessage(7, "m", flags_of(labels), FOLDERS.folders_of(labels))


def after(labels: frozenset[str], happened: Sequence[Event]) -> frozenset[str]:
    """Apply events one by one, as Gmail does."""
    for event in happened:
        if event.kind is EventKind.LABELS_ADDED:
            labels |= event.labels
        else:
            labels -= event.labels
    return labels


@given(label_sets, events, st.integers(0, 8))
def test_a_history_that_began_before_the_message_was_read_ends_as_it_is(
    labels: frozenset[str], happened: list[Event], read_after: int
) -> None:
    as_read = after(labels, happened[:read_after])
    changes: dict[str, MessageChange] = {}

    replayed(happened, changes)

    change = changes.get("m", MessageChange())
    assert change.applied_to(as_read) == after(labels, happened)


@given(label_sets)
def test_labels_become_folders_and_flags_and_back(labels: frozenset[str]) -> None:
    assert FOLDERS.labels_of(stored_message(labels)) == labels


def test_a_message_without_a_label_of_a_folder_lies_in_the_archive() -> None:
    assert FOLDERS.placements({"UNREAD"}) == (Placement(FOLDERS.archive),)
    assert FOLDERS.placements(()) == (Placement(FOLDERS.archive),)


def test_a_draft_is_told_by_its_label() -> None:
    assert flags_of({"DRAFT", "STARRED", "UNREAD"}) == Flags(is_draft=True, is_starred=True)
    assert flags_of(()) == Flags(is_read=True)


def test_a_message_that_is_deleted_is_gone_unless_it_was_added_after() -> None:
    changes: dict[str, MessageChange] = {}
    added, deleted = (
        Event(kind, "m", frozenset()) for kind in (EventKind.ADDED, EventKind.DELETED)
    )

    replayed([added, deleted], changes)
    assert changes["m"].is_gone

    replayed([added], changes)
    assert not changes["m"].is_gone


@given(label_sets, label_sets)
def test_only_what_differs_is_written(before: frozenset[str], now: frozenset[str]) -> None:
    differences = Differences()

    differences.add(stored_message(before), now, FOLDERS)

    assert bool(differences) == (before != now)
    assert bool(differences.placements) == (FOLDERS.placements(before) != FOLDERS.placements(now))
    assert bool(differences.flags) == (flags_of(before) != flags_of(now))


def test_a_message_in_no_folder_gets_its_row_back() -> None:
    differences = Differences()

    differences.add(StoredMessage(7, "m", Flags(), frozenset()), frozenset({"INBOX"}), FOLDERS)

    assert [item.message_id for item in differences.adoptions] == [7]


def test_labels_that_are_flags_are_no_folders() -> None:
    listed = [Label(name, name) for name in ("INBOX", "UNREAD", "STARRED", "CHAT", "Label_1")]

    wanted = {folder.remote_id: folder.role for folder in folders_wanted(listed)}

    assert wanted == {
        "INBOX": FolderRole.INBOX,
        "Label_1": None,
        "ARCHIVE": FolderRole.ARCHIVE,
    }


def test_a_label_newer_than_the_list_is_unknown() -> None:
    assert FOLDERS.unknown({"INBOX", "UNREAD", "CHAT", "Label_7"}) == {"Label_7"}
