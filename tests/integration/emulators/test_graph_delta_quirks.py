"""What goes wrong with the emulated Graph's delta queries: expiry, loops, repetitions, losses."""

import pytest

from emailsync.emulators.graph.quirks import ExpiredAnswer, LinkKind, Loop
from graph_client import INBOX_DELTA, fill, graph_client, removed

HIERARCHY = "/me/mailFolders/delta"


@pytest.mark.parametrize("kind", list(LinkKind))
async def test_links_of_one_folder_expire_and_it_can_be_begun_anew(kind: LinkKind) -> None:
    async with graph_client() as client:
        ids = fill(client, 12)
        first = await client.round(INBOX_DELTA)
        link = first.link if kind is LinkKind.DELTA else first.pages[0]["@odata.nextLink"]
        hierarchy = await client.round(HIERARCHY)
        client.mailbox.expire_tokens("inbox", kinds=[kind])
        refused = await client.get(link)
        unaffected = await client.get(hierarchy.link)
        again = await client.round(refused.headers["location"])

    assert refused.status_code == 410
    assert refused.headers["location"].endswith("/delta?$deltatoken=")
    assert unaffected.status_code == 200
    assert again.ids == ids


@pytest.mark.parametrize(
    ("answer", "status", "code", "inner"),
    [
        (ExpiredAnswer.GONE, 410, "resyncRequired", None),
        (ExpiredAnswer.SYNC_STATE_NOT_FOUND, 410, "SyncStateNotFound", None),
        (ExpiredAnswer.BAD_REQUEST, 400, "syncStateNotFound", None),
        (ExpiredAnswer.NESTED, 400, "BadRequest", "resyncRequired"),
    ],
)
async def test_expired_links_are_refused_in_several_ways(
    answer: ExpiredAnswer, status: int, code: str, inner: str | None
) -> None:
    async with graph_client() as client:
        link = (await client.round(HIERARCHY)).link
        client.mailbox.expire_tokens(answer=answer)
        refused = await client.get(link)

    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (status, code)
    assert error["innerError"].get("code") == inner


async def test_pages_can_be_empty_and_yet_lead_on() -> None:
    async with graph_client() as client:
        ids = fill(client, 25)
        client.mailbox.quirks.empty_page_every = 2
        first = await client.round(INBOX_DELTA)

    assert [len(page["value"]) for page in first.pages] == [10, 0, 10, 0, 5]
    assert first.ids == ids


async def test_an_item_can_come_twice_in_a_page() -> None:
    async with graph_client() as client:
        ids = fill(client, 3)
        client.mailbox.quirks.duplicates = True
        first = await client.round(INBOX_DELTA)

    assert first.ids == [*ids, ids[0]]


async def test_a_next_link_can_lead_to_its_own_page_for_ever() -> None:
    async with graph_client() as client:
        fill(client, 25)
        client.mailbox.quirks.loop = Loop.SAME_LINK
        pages = [await client.json(INBOX_DELTA)]
        pages += [await client.json(pages[-1]["@odata.nextLink"]) for _ in range(2)]

    assert len({page["@odata.nextLink"] for page in pages}) == 1
    assert pages[0]["value"] == pages[1]["value"] == pages[2]["value"]


async def test_next_links_can_lead_in_a_circle() -> None:
    async with graph_client() as client:
        fill(client, 25)
        client.mailbox.quirks.loop = Loop.CYCLE
        pages = [await client.json(INBOX_DELTA)]
        for _ in range(4):
            pages.append(await client.json(pages[-1]["@odata.nextLink"]))

    assert pages[0]["value"] == pages[2]["value"] == pages[4]["value"]
    assert pages[1]["value"] == pages[3]["value"] != pages[0]["value"]
    assert pages[1]["@odata.nextLink"] == pages[3]["@odata.nextLink"]


async def test_next_links_can_change_while_the_items_stay_the_same() -> None:
    async with graph_client() as client:
        fill(client, 25)
        client.mailbox.quirks.loop = Loop.SAME_PAYLOAD
        pages = [await client.json(INBOX_DELTA)]
        for _ in range(3):
            pages.append(await client.json(pages[-1]["@odata.nextLink"]))

    assert len({page["@odata.nextLink"] for page in pages}) == 4
    assert all(page["value"] == pages[0]["value"] for page in pages)


async def test_a_message_that_comes_back_can_stay_reported_as_gone() -> None:
    async with graph_client() as client:
        client.mailbox.quirks.loses_returned = True
        (lost,) = fill(client, 1)
        first = await client.round(INBOX_DELTA)
        client.mailbox.move(lost, "archive")
        client.mailbox.move(lost, "inbox")
        second = await client.round(first.link)
        client.mailbox.set_flag(lost)
        third = await client.round(second.link)
        anew = await client.round(INBOX_DELTA)

    assert second.items == removed([lost], "deleted")
    assert third.items == []
    assert anew.ids == [lost]


async def test_a_message_that_comes_back_is_told_again_otherwise() -> None:
    async with graph_client() as client:
        (back,) = fill(client, 1)
        first = await client.round(INBOX_DELTA)
        client.mailbox.move(back, "archive")
        client.mailbox.move(back, "inbox")
        second = await client.round(first.link)

    assert [(item["id"], "@removed" in item) for item in second.items] == [(back, False)]
