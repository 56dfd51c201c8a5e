"""Large messages pass one at a time, and nobody waits for ever behind a slow one."""

from dataclasses import dataclass

import anyio
import pytest

from emailsync.domain.errors import Throttled
from emailsync.domain.folders import FolderCursor, FolderId, StoredFolder
from emailsync.domain.mail import Flags
from emailsync.domain.pages import MAX_PAGE_BYTES
from emailsync.domain.uid_set import UidSet
from emailsync.providers.imap.bodies import BodyFetcher
from emailsync.providers.imap.fetching import FetchedBodies, Overview
from emailsync.providers.imap.folder_state import FolderState

LIMIT_BYTES = 4 * MAX_PAGE_BYTES


class OneLargeMessage:
    """A connection to a folder that holds one message over the size of a page."""

    def start_overview(self, uids: UidSet) -> "Collected":
        return Collected(
            [Overview(uids.first, Flags(), None, 2 * MAX_PAGE_BYTES, None, None, None)]
        )

    def start_bodies(self, uids: UidSet, *, headers_only: bool = False) -> "Collected":
        assert uids.count == 1
        assert not headers_only
        return Collected(FetchedBodies(contents={1: b"large"}))


@dataclass(frozen=True, slots=True)
class Collected:
    """What has been asked for and is there."""

    answer: list[Overview] | FetchedBodies

    async def collect(self) -> list[Overview] | FetchedBodies:
        return self.answer


def a_folder() -> FolderState:
    stored = StoredFolder(
        id=FolderId(1),
        remote_id="INBOX",
        path="INBOX",
        role=None,
        cursor=FolderCursor(uid_validity=7, uid_next=2),
        stored_count=0,
        remote_count=None,
        missing_count=0,
    )
    return FolderState(stored, None)


def fetcher(lane: anyio.Semaphore, *, patience_s: float) -> BodyFetcher:
    return BodyFetcher(OneLargeMessage(), LIMIT_BYTES, lane, patience_s)  # type: ignore[arg-type]  # what bodies.py uses of it


async def test_a_large_message_gives_the_lane_back_when_it_is_stored() -> None:
    lane = anyio.Semaphore(1)

    pages = [page async for page, _ in fetcher(lane, patience_s=1).pages(a_folder(), [1])]

    assert [message.raw for page in pages for message in page.messages] == [b"large"]
    assert lane.value == 1


async def test_a_large_message_behind_one_that_trickles_comes_later() -> None:
    lane = anyio.Semaphore(1)
    lane.acquire_nowait()

    with pytest.raises(Throttled, match="large message"):
        async for _ in fetcher(lane, patience_s=0).pages(a_folder(), [1]):
            pass

    assert lane.value == 0
