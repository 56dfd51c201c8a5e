"""Pages of delta rounds, and rounds that never end."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from emailsync.domain.errors import ServerRefused
from emailsync.providers.graph.delta import DeltaPage, EndlessRound, RoundWatch, merged
from emailsync.providers.http_messages import Answer


def answer(body: object) -> Answer:
    return Answer(
        status=200,
        headers={"content-type": "application/json"},
        body=orjson.dumps(body),
        received_at=datetime(2026, 10, 1, tzinfo=UTC),
    )


def page(*ids: str, link: str | None = None) -> DeltaPage:
    return DeltaPage([{"id": name} for name in ids], link, None if link else "delta")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"value": []},
        {"value": None, "@odata.deltaLink": "x"},
        {"value": [], "@odata.deltaLink": ""},
        {"value": [], "@odata.deltaLink": 5},
        {"value": [], "@odata.nextLink": "x", "@odata.deltaLink": "y"},
    ],
)
def test_a_page_without_items_or_a_link_is_none(body: Mapping[str, Any]) -> None:
    with pytest.raises(ServerRefused):
        DeltaPage.read(answer(body))


def test_items_that_are_none_are_left_out() -> None:
    values = [{"id": "a"}, {"id": ""}, {"id": 5}, {"id": "a\0"}, {"id": "x" * 3_000}, {}, "b", None]

    found = DeltaPage.read(answer({"value": values, "@odata.deltaLink": "x"}))

    assert found.items == [{"id": "a"}]


def test_an_item_that_comes_twice_keeps_what_only_one_of_them_tells() -> None:
    items = [{"id": "a", "isRead": False, "subject": "x"}, {"id": "a", "isRead": True}]

    assert merged(items) == {"a": {"id": "a", "isRead": True, "subject": "x"}}


def watched(pages: Sequence[DeltaPage], *, total: int = 0) -> int:
    """Return how many pages were seen when the round was found to be endless."""
    watch = RoundWatch(total)
    for number, seen in enumerate(pages, start=1):
        try:
            watch.see(seen)
        except EndlessRound:
            return number
    return 0


def test_the_same_link_again_ends_a_round() -> None:
    assert watched([page("a", link="1"), page("b", link="1")]) == 2


def test_links_in_a_circle_end_a_round() -> None:
    assert watched([page("a", link="1"), page("b", link="2"), page("c", link="1")]) == 3


def test_new_links_to_the_same_items_end_a_round_at_the_third_time() -> None:
    assert watched([page("a", "b", link=str(n)) for n in range(9)]) == 3


def test_new_links_to_nothing_end_a_round_when_the_folder_cannot_be_so_large() -> None:
    assert watched([page(link=str(n)) for n in range(1_000)]) == 51
    assert watched([page(link=str(n)) for n in range(1_000)], total=1_000) == 251


def test_a_long_round_with_replays_and_empty_pages_is_none_that_never_ends() -> None:
    pages = [page(f"m{n}", f"m{n + 1}", link=f"a{n}") for n in range(5_000)]
    pages += [page(link=f"b{n}") for n in range(40)]

    assert watched([*pages, page()]) == 0
