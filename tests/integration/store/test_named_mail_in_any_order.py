"""Any pages of named mail, in any order, against a few lines that say where it must lie then."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emailsync.domain.accounts import Lease
from emailsync.domain.folders import FolderId
from named_mail import moved, named, places
from store_rig import add_account, store_rig

NAMES, FOLDERS = "abcd", range(3)
SOME_NAMES = st.lists(st.sampled_from(NAMES), max_size=2)
PLACES = st.dictionaries(
    st.sampled_from(NAMES), st.frozensets(st.sampled_from(FOLDERS)), max_size=2
)
PAGES = st.fixed_dictionaries(
    {
        "removed": SOME_NAMES,
        "left": st.dictionaries(st.sampled_from(FOLDERS), SOME_NAMES, max_size=2),
        "messages": st.dictionaries(
            st.sampled_from(NAMES),
            st.frozensets(st.sampled_from(FOLDERS), min_size=1),
            max_size=2,
        ),
        "placements": PLACES,
        "settle": st.booleans(),
    }
).map(
    lambda page: (
        page
        | {
            "placements": {
                name: folders
                for name, folders in page["placements"].items()
                if name not in page["messages"]  # which say where they lie already
            }
        }
    )
)


def expected(known: Mapping[str, frozenset[int]], page: Mapping[str, Any]) -> dict[str, Any]:
    """Return the folders of what is not deleted, after a page; none: detached."""
    after = dict(known)
    after |= {name: frozenset() for name in page["removed"] if name in after}
    for folder, names in page["left"].items():
        after |= {name: after[name] - {folder} for name in names if name in after}
    after |= page["messages"]
    after |= {name: folders for name, folders in page["placements"].items() if name in after}
    if page["settle"]:
        after = {name: folders for name, folders in after.items() if folders}
    return after


def names_of(page: Mapping[str, Any]) -> Sequence[str]:
    left = [name for names in page["left"].values() for name in names]
    return [*page["removed"], *left, *page["messages"], *page["placements"]]


class Mailbox:
    """Applies pages to one account after another, from synchronous code."""

    def __init__(self, url: str, runner: asyncio.Runner, stack: AsyncExitStack) -> None:
        self._run = runner.run
        self._rig = self._run(stack.enter_async_context(store_rig(url)))

    def start_anew(self) -> None:
        self._run(self._start_anew())

    async def _start_anew(self) -> None:
        key = await add_account(self._rig.connection, lease_epoch=1)
        self._rig.lease = Lease(key, 1)
        self._folders = [await self._rig.folder(str(number)) for number in FOLDERS]

    def apply(self, page: Mapping[str, Any]) -> None:
        def at(numbers: Sequence[int]) -> list[FolderId]:
            return [self._folders[number] for number in sorted(numbers)]

        self._run(
            self._rig.apply(
                [named(self._rig, name, *at(where)) for name, where in page["messages"].items()],
                removed=page["removed"],
                left={self._folders[number]: names for number, names in page["left"].items()},
                placements=[moved(name, *at(where)) for name, where in page["placements"].items()],
                settle=page["settle"],
            )
        )

    def places(self) -> dict[str, frozenset[int]]:
        return {
            name: frozenset(map(self._folders.index, folders))
            for name, folders in self._run(places(self._rig)).items()
        }

    def row_versions(self) -> Mapping[str, Any]:
        return self._run(self._rig.row_versions())

    def told(self) -> dict[str, str]:
        """Return what the feed said last of each message; its contradictions are failures."""
        rows = self._run(
            self._rig.rows(
                "SELECT remote_id, kind"
                " FROM changes JOIN messages ON messages.id = changes.message_id"
                " WHERE changes.provider_id = $1 ORDER BY seq",
                self._rig.lease.key.account_id,
            )
        )
        last: dict[str, str] = {}
        for row in rows:
            name, kind = row["remote_id"], row["kind"]
            assert (kind == "created") == (last.get(name, "deleted") == "deleted")
            last[name] = kind
        return last

    def rows_of_a_name(self) -> set[int]:
        rows = self._run(
            self._rig.rows(
                "SELECT count(*) FROM messages WHERE provider_id = $1 GROUP BY remote_id",
                self._rig.lease.key.account_id,
            )
        )
        return {row["count"] for row in rows}


@pytest.fixture
def mailbox(database_url: str) -> Iterator[Mailbox]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        yield Mailbox(database_url, runner, stack)
        runner.run(stack.aclose())


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pages=st.lists(PAGES, min_size=1, max_size=6))
def test_any_pages_leave_each_message_where_the_last_word_was_under_one_id_for_life(
    mailbox: Mailbox, pages: list[dict[str, Any]]
) -> None:
    mailbox.start_anew()
    known: dict[str, frozenset[int]] = {}

    for page in pages:
        mailbox.apply(page)
        known = expected(known, page)
        assert mailbox.places() == known
        if len(set(names_of(page))) == len(names_of(page)):
            before = mailbox.row_versions()
            mailbox.apply(page)
            assert mailbox.row_versions() == before

    exists = {name for name, kind in mailbox.told().items() if kind != "deleted"}
    assert exists == set(known)
    assert mailbox.rows_of_a_name() <= {1}
