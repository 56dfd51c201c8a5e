"""The emulated Graph's delta queries: rounds over messages and folders, on a real socket."""

from typing import Any

import pytest

from emailsync.emulators.graph.quirks import RemovedReason
from graph_client import INBOX_DELTA, GraphClient, fill, graph_client, mail, of_size, removed

HIERARCHY = "/me/mailFolders/delta"
BRIEF = f"{INBOX_DELTA}?$select=subject,isRead"

# Rounds over messages


async def test_a_first_round_tells_all_of_one_folder_and_the_next_one_nothing() -> None:
    async with graph_client(messages=50) as client:
        first = await client.round(INBOX_DELTA)
        second = await client.round(first.link)

    assert set(first.ids) == {message.id for message in client.mailbox.in_folder("inbox")}
    assert len(first.ids) == len(set(first.ids))
    assert second.items == []


async def test_pages_have_ten_items_unless_another_size_is_preferred_and_top_is_ignored() -> None:
    async with graph_client() as client:
        fill(client, 30)
        by_default = await client.json(f"{INBOX_DELTA}?$top=3")
        answer = await client.get(INBOX_DELTA, prefer=of_size(25))

    assert len(by_default["value"]) == 10
    assert len(answer.json()["value"]) == 25
    assert "odata.maxpagesize=25" in answer.headers["preference-applied"]


async def test_a_full_last_page_is_followed_by_an_empty_one_with_the_delta_link() -> None:
    async with graph_client() as client:
        fill(client, 20)
        first = await client.round(INBOX_DELTA)

    assert [len(page["value"]) for page in first.pages] == [10, 10, 0]


async def test_links_are_absolute_and_hold_the_select_of_the_first_request() -> None:
    async with graph_client() as client:
        ids = fill(client, 12)
        first = await client.round(BRIEF)
        client.mailbox.set_flag(ids[0])
        second = await client.round(first.link)

    assert first.pages[0]["@odata.nextLink"].startswith(f"{client.base_url}/v1.0/me/mailFolders/")
    assert "?$skiptoken=" in first.pages[0]["@odata.nextLink"]
    assert "?$deltatoken=" in first.link
    assert "subject" not in first.link
    keys = {key for item in first.items + second.items for key in item if not key.startswith("@")}
    assert keys == {"id", "subject", "isRead"}


async def test_links_lead_to_the_configured_host() -> None:
    async with graph_client(base_url="https://graph.example") as client:
        configured = (await client.json(INBOX_DELTA))["@odata.deltaLink"]
        client.mailbox.quirks.link_base = "https://attacker.example"
        foreign = (await client.json(INBOX_DELTA))["@odata.deltaLink"]

    assert configured.startswith("https://graph.example/v1.0/me/")
    assert foreign.startswith("https://attacker.example/v1.0/me/")


async def test_new_changed_and_deleted_messages_come_in_the_next_round() -> None:
    async with graph_client() as client:
        flagged, deleted, _ = fill(client, 3)
        first = await client.round(INBOX_DELTA)
        new = client.mailbox.deliver(mail("new"))
        client.mailbox.set_flag(flagged)
        client.mailbox.categorise(flagged, ["Red"])
        client.mailbox.delete(deleted)
        second = await client.round(first.link)

    assert second.ids == [new.id, flagged, deleted]
    assert second.items[1]["flag"] == {"flagStatus": "flagged"}
    assert second.items[1]["categories"] == ["Red"]
    assert second.items[2:] == removed([deleted], "deleted")


async def test_a_round_is_no_snapshot() -> None:
    """What changes during a round is told on a later page of it, also what was told before."""
    async with graph_client() as client:
        ids = fill(client, 15)
        page = await client.json(INBOX_DELTA)
        told = page["value"][0]["id"]
        client.mailbox.set_flag(told)
        client.mailbox.delete(ids[-1])
        new = client.mailbox.deliver(mail("new"))
        rest = await client.round(page["@odata.nextLink"])

    assert ids[-1] not in [item["id"] for item in rest.items if "@removed" not in item]
    assert rest.ids[-3:] == [told, ids[-1], new.id]


async def test_a_removed_item_can_come_in_the_first_round() -> None:
    async with graph_client() as client:
        ids = fill(client, 11)
        page = await client.json(INBOX_DELTA)
        client.mailbox.delete(ids[0])
        rest = await client.round(page["@odata.nextLink"])

    assert rest.items[-1:] == removed([ids[0]], "deleted")


@pytest.mark.parametrize("reason", list(RemovedReason))
async def test_a_move_is_a_removal_here_and_a_creation_there(reason: RemovedReason) -> None:
    archive = "/me/mailFolders/archive/messages/delta"

    async with graph_client() as client:
        client.mailbox.quirks.moved_reason = reason
        (moved,) = fill(client, 1)
        source, target = await client.round(INBOX_DELTA), await client.round(archive)
        client.mailbox.move(moved, "archive")
        left, arrived = await client.round(source.link), await client.round(target.link)

    assert left.items == removed([moved], reason)
    assert arrived.ids == [moved]
    assert arrived.items[0]["subject"] == "No 0"


async def test_without_immutable_ids_a_move_is_told_under_two_names() -> None:
    archive = "/me/mailFolders/archive/messages/delta"

    async with graph_client() as client:
        (moved,) = fill(client, 1)
        source = await client.round(INBOX_DELTA, prefer="")
        target = await client.round(archive, prefer="")
        client.mailbox.move(moved, "archive")
        left = await client.round(source.link, prefer="")
        arrived = await client.round(target.link, prefer="")

    assert left.ids == source.ids
    assert arrived.ids != left.ids


async def test_links_work_with_both_kinds_of_ids() -> None:
    async with graph_client() as client:
        ids = fill(client, 12)
        first = await client.json(INBOX_DELTA, prefer="")
        rest = await client.round(first["@odata.nextLink"])

    assert not set(ids) & {item["id"] for item in first["value"]}
    assert set(rest.ids) <= set(ids)


async def test_after_a_change_of_is_read_alone_an_item_is_partial() -> None:
    async with graph_client() as client:
        read, both, _ = fill(client, 3)
        first = await client.round(BRIEF)
        client.mailbox.set_read(read)
        client.mailbox.set_flag(both)
        client.mailbox.set_read(both)
        second = await client.round(first.link)

    assert set(second.items[0]) == {
        *("@odata.type", "@odata.etag"),
        *("id", "isRead", "parentFolderId"),
    }
    assert second.items[0]["isRead"] is True
    assert (second.items[1]["id"], second.items[1]["subject"]) == (both, "No 1")


async def test_a_change_of_is_read_is_not_told_to_who_has_not_selected_it() -> None:
    async with graph_client() as client:
        (read,) = fill(client, 1)
        first = await client.round(f"{INBOX_DELTA}?$select=subject")
        client.mailbox.set_read(read)
        second = await client.round(first.link)

    assert second.items == []


async def test_headers_come_when_selected_unless_delta_has_none() -> None:
    path = f"{INBOX_DELTA}?$select=internetMessageHeaders"

    async with graph_client() as client:
        fill(client, 1)
        with_headers = await client.round(path)
        client.mailbox.quirks.headers_in_delta = False
        without = await client.round(path)

    assert with_headers.items[0]["internetMessageHeaders"][0]["name"] == "Message-ID"
    assert "internetMessageHeaders" not in without.items[0]


async def test_mapi_properties_are_not_told() -> None:
    async with graph_client() as client:
        fill(client, 1)
        expand = "$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E08')"
        first = await client.round(f"{INBOX_DELTA}?{expand}")

    assert "singleValueExtendedProperties" not in first.items[0]


async def test_a_revised_draft_is_told_with_its_new_content() -> None:
    path = "/me/mailFolders/drafts/messages/delta"

    async with graph_client() as client:
        draft = client.mailbox.save_draft(mail("draft"))
        first = await client.round(path)
        client.mailbox.revise_draft(draft.id, mail("final"))
        second = await client.round(first.link)

    assert [item["subject"] for item in first.items] == ["draft"]
    assert [(item["id"], item["subject"]) for item in second.items] == [(draft.id, "final")]


async def test_the_first_round_can_be_ordered_from_the_newest_and_bounded() -> None:
    async with graph_client() as client:
        ids = fill(client, 30)
        ordered = await client.round(f"{INBOX_DELTA}?$orderby=receivedDateTime desc")
        bounded = await client.round(
            f"{INBOX_DELTA}?$filter=receivedDateTime ge 2025-01-01T20:00:00Z"
        )

    assert ordered.ids == ids[::-1]
    assert bounded.ids == ids[20:]


async def test_one_kind_of_change_can_be_asked_for() -> None:
    async with graph_client() as client:
        changed, deleted = fill(client, 2)
        links = [
            (await client.round(f"{INBOX_DELTA}?changeType={kind}")).link
            for kind in ("created", "updated", "deleted")
        ]
        new = client.mailbox.deliver(mail("new"))
        client.mailbox.set_flag(changed)
        client.mailbox.delete(deleted)
        told = [(await client.round(link)).ids for link in links]

    assert told == [[new.id], [changed], [deleted]]


@pytest.mark.parametrize(
    "query",
    [
        "$filter=isRead eq true",
        "$filter=receivedDateTime lt 2025-01-01T20:00:00Z",
        "$orderby=subject",
        "$search=x",
        "changeType=moved",
        "$select=size",
        "$expand=attachments($select=contentId)",
        "$deltatoken=made-up",
    ],
)
async def test_other_query_options_are_refused(query: str) -> None:
    async with graph_client() as client:
        answer = await client.get(f"{INBOX_DELTA}?{query}")

    assert answer.status_code == 400


async def test_sync_from_now_is_not_supported() -> None:
    async with graph_client() as client:
        ids = fill(client, 2)
        first = await client.round(f"{INBOX_DELTA}?$deltatoken=latest")

    assert first.ids == ids


async def test_a_link_is_for_its_own_folder() -> None:
    async with graph_client() as client:
        link = (await client.round(INBOX_DELTA)).link
        answer = await client.get(link.replace("/inbox/", "/archive/"))

    assert answer.status_code == 400


# The hierarchy of folders


async def test_the_hierarchy_tells_folders_of_all_levels_but_not_the_root() -> None:
    async with graph_client() as client:
        first = await client.round(HIERARCHY)
        paths = {client.mailbox.path(client.mailbox.folder(name)) for name in first.ids}

    assert {"Inbox", "Projects", "Projects/2026"} <= paths
    assert client.mailbox.folder("msgfolderroot").id not in first.ids
    assert {item["displayName"] for item in first.items} >= {"Inbox", "2026"}


async def test_the_hierarchy_tells_what_is_new_renamed_moved_and_deleted() -> None:
    async with graph_client() as client:
        renamed, moved, deleted = (client.mailbox.create_folder(name).id for name in "abc")
        child = client.mailbox.create_folder("child", deleted).id
        first = await client.round(HIERARCHY)
        new = client.mailbox.create_folder("new").id
        client.mailbox.rename_folder(renamed, "other")
        client.mailbox.move_folder(moved, renamed)
        client.mailbox.delete_folder(deleted)
        second = await client.round(first.link)

    assert second.ids == [new, renamed, moved, child, deleted]
    assert second.items[1]["displayName"] == "other"
    assert second.items[2]["parentFolderId"] == renamed
    assert [item["@removed"] for item in second.items[3:]] == [{"reason": "deleted"}] * 2


async def test_the_hierarchy_tells_nothing_of_messages_and_counts() -> None:
    async with graph_client() as client:
        first = await client.round(HIERARCHY)
        ids = fill(client, 3)
        client.mailbox.set_read(ids[0])
        second = await client.round(first.link)

    assert second.items == []


@pytest.mark.parametrize("empty_page_every", [0, 3])
async def test_a_client_that_follows_all_rounds_knows_what_lies_where(
    empty_page_every: int,
) -> None:
    """Whatever happens between two pages, and however often."""
    async with graph_client(messages=60) as client:
        client.mailbox.quirks.empty_page_every = empty_page_every
        folders = [folder.id for folder in client.mailbox.folders.values()]
        links = {name: f"/me/mailFolders/{name}/messages/delta" for name in folders}
        copies: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in folders}
        for changes in (2, 2, 0):
            for name in folders:
                links[name] = await follow(client, links[name], copies[name], changes)

    for name in folders:
        expected = {
            message.id: (message.is_read, message.flag, list(message.categories))
            for message in client.mailbox.in_folder(name)
        }
        found = {
            item: (told["isRead"], told["flag"]["flagStatus"], told["categories"])
            for item, told in copies[name].items()
        }
        assert found == expected


async def follow(
    client: GraphClient, link: str, copy: dict[str, dict[str, Any]], changes: int
) -> str:
    """Apply one round to a copy, while things happen between its pages; return the deltaLink."""
    page: dict[str, Any] = {"@odata.nextLink": link}
    while "@odata.deltaLink" not in page:
        page = await client.json(page["@odata.nextLink"], prefer=of_size(4))
        for item in page["value"]:
            if "@removed" in item:
                copy.pop(item["id"], None)
            else:
                copy[item["id"]] = copy.get(item["id"], {}) | item
        for _ in range(changes):
            client.emulator.life.change(client.mailbox)
    delta_link: str = page["@odata.deltaLink"]
    return delta_link
