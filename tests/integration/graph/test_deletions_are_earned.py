"""What Graph reports as removed is believed only when Graph says so of each message by name."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import orjson
import pytest

from emailsync.config import StoreSettings
from emailsync.emulators.faults import Fault
from graph_account import GraphAccount, graph_account


@pytest.fixture
async def account(database_url: str, tmp_path: Path) -> AsyncIterator[GraphAccount]:
    """A mailbox with over a hundred messages in its inbox, synced."""
    store = StoreSettings(raw=False)
    async with graph_account(
        database_url, tmp_path / "keys", messages=200, folders=(), store=store
    ) as account:
        await account.sync()
        account.usage.reset()
        yield account


async def report_as_removed(account: GraphAccount, ids: Sequence[str]) -> None:
    """Let the inbox's next delta say that these are gone, which they are not."""
    link = (await account.links())["Inbox"][0]
    inbox = account.mailbox.folder("inbox").id
    page = {
        "value": [{"id": name, "@removed": {"reason": "deleted"}} for name in ids],
        "@odata.deltaLink": link,
    }
    account.emulator.faults.add(
        Fault(
            on=rf"{inbox}/messages/delta\?\$deltatoken",
            status=200,
            headers={"content-type": "application/json"},
            body=orjson.dumps(page).decode(),
        )
    )


async def test_a_few_messages_that_are_said_to_be_gone_are_asked_for_and_stay(
    account: GraphAccount,
) -> None:
    ids = await account.message_ids()
    await report_as_removed(account, [m.id for m in account.mailbox.in_folder("inbox")[:10]])

    await account.sync()

    assert account.usage.calls["messages.get"] == 10
    assert await account.message_ids() == ids
    await account.assert_equal()


async def test_a_message_that_is_there_without_word_of_its_folder_stays(
    account: GraphAccount,
) -> None:
    ids = await account.message_ids()
    name = account.mailbox.in_folder("inbox")[0].id
    await report_as_removed(account, [name])
    account.emulator.faults.add(Fault(on=rf"messages/{name}\?", status=200, body='{"isRead":true}'))

    await account.sync()
    deleted = await account.count("messages WHERE deleted_at IS NOT NULL")
    account.emulator.faults.clear()
    await account.sync()

    assert deleted == 0
    assert await account.message_ids() == ids


async def test_a_whole_folder_that_is_said_to_be_gone_is_listed_again_and_stays(
    account: GraphAccount,
) -> None:
    messages = account.mailbox.in_folder("inbox")
    before = (await account.row_versions())["messages"]
    await report_as_removed(account, [message.id for message in messages])

    await account.sync()

    assert len(messages) > 100
    assert account.usage.calls["messages.get"] == 0
    assert (await account.row_versions())["messages"] == before
    await account.assert_equal()


async def test_a_whole_folder_that_is_gone_is_deleted(account: GraphAccount) -> None:
    for message in account.mailbox.in_folder("inbox"):
        account.mailbox.delete(message.id)

    await account.sync()

    await account.assert_equal()
    assert await account.message_ids("Inbox") == set()


async def test_an_empty_listing_after_an_expired_cursor_deletes_nothing_that_is_there(
    account: GraphAccount,
) -> None:
    """A mailbox that is being moved has been seen to show empty folders."""
    ids = await account.message_ids()
    link = (await account.links())["Inbox"][0]
    inbox = account.mailbox.folder("inbox").id
    account.mailbox.expire_tokens("inbox")
    account.emulator.faults.add(
        Fault(
            on=rf"{inbox}/messages/delta\?\$select",
            status=200,
            headers={"content-type": "application/json"},
            body=orjson.dumps({"value": [], "@odata.deltaLink": link}).decode(),
        )
    )

    await account.sync()

    assert await account.message_ids() == ids
    account.emulator.faults.clear()
    await account.sync()
    await account.assert_equal()


async def test_a_count_that_differs_has_its_folder_compared_in_full(
    account: GraphAccount,
) -> None:
    """Whatever was missed, by whatever mistake, is found when something else changes there."""
    messages = account.mailbox.in_folder("inbox")
    lost, kept = messages[0], messages[1]
    await account.connection.execute("DELETE FROM messages WHERE remote_id = $1", lost.id)
    await account.connection.execute(
        "UPDATE messages SET is_starred = NOT is_starred WHERE remote_id = $1", kept.id
    )
    account.mailbox.set_read(messages[2].id, is_read=not messages[2].is_read)

    await account.sync()

    await account.assert_equal()


async def test_confirming_deletions_gets_further_each_time_it_is_cut(
    account: GraphAccount,
) -> None:
    """Were none of it kept, a mailbox emptied beyond its quota would never be done."""
    for message in account.mailbox.in_folder("inbox"):
        account.mailbox.delete(message.id)
    account.emulator.faults.add(Fault(on=r"GET .*/messages/AAkAL[^/]+\?", status=429, calls=[60]))
    with pytest.raises(Exception, match="429"):
        await account.sync()

    deleted = await account.count("messages WHERE deleted_at IS NOT NULL")

    assert deleted == 50


async def test_a_gateways_404_deletes_nothing(account: GraphAccount) -> None:
    """Only Graph's own word that an item is gone counts."""
    ids = await account.message_ids()
    for message in account.mailbox.in_folder("inbox")[:3]:
        account.mailbox.move(message.id, "archive")
        account.mailbox.delete(message.id)
    kept = account.mailbox.in_folder("inbox")[0]
    await report_as_removed(account, [kept.id])
    account.emulator.faults.add(
        Fault(
            on=r"/messages/AAkAL[^/]+\?",
            status=404,
            headers={"content-type": "text/plain"},
            body="no route",
        )
    )

    await account.sync()

    rows = await account.count("messages WHERE deleted_at IS NOT NULL")
    assert rows == 0
    assert await account.count("messages") == len(ids)
    account.emulator.faults.clear()
    await account.sync()
    await account.assert_equal()
