"""What an IMAP folder needs."""

from dataclasses import replace
from datetime import timedelta

from emailsync.domain.folders import (
    FolderCursor,
    FolderId,
    FolderRole,
    RemoteFolder,
    StoredFolder,
)
from emailsync.domain.imap_plan import (
    MAX_GENERATIONS,
    PARKED_FOR,
    FolderWork,
    MailboxStatus,
    compare_listing,
    is_parked,
    is_unchanged,
    rename_candidates,
    work_of,
)

CURSOR = FolderCursor(uid_validity=7, uid_next=100, highest_modseq=55)
STATUS = MailboxStatus(uid_validity=7, uid_next=100, messages=12, highest_modseq=55)


def stored(name: str = "INBOX", *, id_: int = 1, cursor: FolderCursor = CURSOR) -> StoredFolder:
    return StoredFolder(
        id=FolderId(id_),
        remote_id=name,
        path=name,
        role=None,
        cursor=cursor,
        stored_count=12,
        remote_count=12,
        missing_count=0,
    )


def remote(name: str) -> RemoteFolder:
    return RemoteFolder(remote_id=name, path=name)


def test_a_folder_that_did_not_change_is_skipped() -> None:
    assert is_unchanged(stored(), STATUS)


def test_any_difference_makes_a_folder_worth_selecting() -> None:
    changed = [
        replace(STATUS, uid_validity=8),
        replace(STATUS, uid_next=101),
        replace(STATUS, messages=11),
        replace(STATUS, highest_modseq=56),
    ]

    assert not any(is_unchanged(stored(), status) for status in changed)


def test_without_a_modseq_no_folder_is_skipped() -> None:
    """A flag can change and leave no trace in STATUS."""
    assert not is_unchanged(stored(), replace(STATUS, highest_modseq=None))
    assert not is_unchanged(stored(), None)


def test_a_pending_backfill_is_work() -> None:
    cursor = replace(CURSOR, backfill_before=50)

    assert not is_unchanged(stored(cursor=cursor), STATUS)


def test_a_count_that_differs_from_the_servers_is_work() -> None:
    """A folder is not left alone before its difference is repaired."""
    assert not is_unchanged(replace(stored(), stored_count=11), STATUS)


def test_a_folder_without_a_cursor_is_started() -> None:
    assert work_of(FolderCursor(), uid_validity=7, uid_next=1) is FolderWork.START


def test_a_lower_uidvalidity_is_a_new_generation_too() -> None:
    assert work_of(CURSOR, uid_validity=6, uid_next=100) is FolderWork.NEW_GENERATION
    assert work_of(CURSOR, uid_validity=8, uid_next=100) is FolderWork.NEW_GENERATION


def test_a_uidnext_that_went_back_is_a_new_generation() -> None:
    assert work_of(CURSOR, uid_validity=7, uid_next=99) is FolderWork.NEW_GENERATION


def test_an_unchanged_generation_is_caught_up() -> None:
    assert work_of(CURSOR, uid_validity=7, uid_next=100) is FolderWork.CATCH_UP


def test_a_listing_is_compared_by_raw_name() -> None:
    inbox = replace(stored("INBOX"), missing_count=1)
    old = stored("Old", id_=2)
    listed = [replace(remote("INBOX"), role=FolderRole.INBOX), remote("New")]

    diff = compare_listing(listed, [inbox, old])

    assert list(diff.known) == [inbox]
    assert list(diff.fresh) == [remote("New")]
    assert list(diff.missing) == [old]
    assert [folder.remote_id for folder in diff.relabelled] == ["INBOX"]
    assert [folder.remote_id for folder in diff.back] == ["INBOX"]


def test_a_fresh_folder_with_the_uidvalidity_of_a_missing_one_may_be_its_new_name() -> None:
    old = stored("Old", id_=2)

    found = rename_candidates([old], [remote("New")], {"New": STATUS})

    assert found == {FolderId(2): remote("New")}


def test_a_shared_uidvalidity_is_no_evidence_of_a_rename() -> None:
    """Folders made within one second often share it."""
    olds = [stored("A", id_=2), stored("B", id_=3)]
    fresh = [remote("C"), remote("D")]

    assert rename_candidates(olds, fresh, {"C": STATUS, "D": STATUS}) == {}
    assert rename_candidates(olds[:1], fresh, {"C": STATUS, "D": STATUS}) == {}
    assert rename_candidates(olds, fresh[:1], {"C": STATUS}) == {}


def test_a_rename_never_lowers_uidnext() -> None:
    status = {"New": replace(STATUS, uid_next=99)}

    assert rename_candidates([stored("Old")], [remote("New")], status) == {}


def test_a_folder_is_parked_for_a_day_after_the_fifth_generation_in_a_row() -> None:
    fourth = replace(stored(), generations=MAX_GENERATIONS - 1, since_generation=timedelta())
    fifth = replace(fourth, generations=MAX_GENERATIONS)
    a_day_later = replace(fifth, since_generation=PARKED_FOR)

    assert [is_parked(folder) for folder in (stored(), fourth, fifth, a_day_later)] == [
        *(False, False, True, False)
    ]
