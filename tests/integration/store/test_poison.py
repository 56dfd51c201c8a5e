"""One message that Postgres refuses harms itself alone."""

import random

import pytest

from emailsync.domain.folders import FolderCursor
from emailsync.domain.pages import PageResult
from store_rig import StoreRig

CURSOR = FolderCursor(uid_validity=7, uid_next=101)
WITHOUT_PATTERN = random.Random(1).randbytes(10_000).hex()  # too long for an index page, and dense


@pytest.mark.parametrize("poisonous", [{1}, {50}, {100}, {1, 2, 57, 100}])
async def test_the_refused_messages_are_put_aside_and_the_cursor_goes_on(
    rig: StoreRig, poisonous: set[int]
) -> None:
    messages = [rig.message(uid, size_bytes=-1 if uid in poisonous else 5) for uid in range(1, 101)]

    result = await rig.apply(messages, cursors={rig.inbox: CURSOR})

    (folder,) = await rig.stored.folders()
    good = sorted(set(range(1, 101)) - poisonous)
    assert result == PageResult(created=len(good), quarantined=len(poisonous))
    assert await rig.uids() == good
    assert await rig.stored.quarantined_uids(rig.inbox) == sorted(poisonous)
    assert folder.cursor == CURSOR


@pytest.mark.parametrize(
    "field",
    [
        {"size_bytes": 2**63},  # refused by the driver, before the server sees it
        {"size_bytes": -1},
        {"remote_id": WITHOUT_PATTERN},
        {"raw_sha256": "no bytes"},
    ],
    ids=["driver", "constraint", "limit", "type"],
)
async def test_every_kind_of_refusal_ends_in_quarantine_with_the_bytes(
    rig: StoreRig, field: dict[str, object]
) -> None:
    result = await rig.apply([rig.message(1, "good"), rig.message(2, "poison", **field)])

    assert result == PageResult(created=1, quarantined=1)
    (row,) = await rig.rows("SELECT stage, raw, folder_id, uid, reason FROM quarantine")
    assert row.pop("reason")
    assert row == {"stage": "store", "raw": b"poison", "folder_id": rig.inbox, "uid": 2}


async def test_a_message_refused_again_is_counted_not_repeated(rig: StoreRig) -> None:
    poison = rig.message(1, size_bytes=-1)

    await rig.apply([poison])
    await rig.apply([poison])

    assert await rig.rows("SELECT attempts FROM quarantine") == [{"attempts": 2}]


async def test_a_live_message_whose_new_state_is_refused_stays_as_it_was(rig: StoreRig) -> None:
    await rig.apply([rig.message(1, "good")])

    result = await rig.apply([rig.message(1, "worse", size_bytes=-1)])

    assert result == PageResult(quarantined=1)
    assert await rig.rows("SELECT subject FROM messages") == [{"subject": "good"}]
    assert await rig.stored.quarantined_uids(rig.inbox) == []
