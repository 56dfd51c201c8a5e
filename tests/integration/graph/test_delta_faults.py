"""What Graph does to its clients now and then, and what must come of it all the same."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from emailsync.config import StoreSettings
from emailsync.domain.errors import ServerRefused
from emailsync.emulators.graph.items import Message
from emailsync.emulators.graph.quirks import ExpiredAnswer, LinkKind, Loop
from emailsync.emulators.http_host import serve
from graph_account import OWNER, GraphAccount, graph_account


@pytest.fixture
async def account(database_url: str, tmp_path: Path) -> AsyncIterator[GraphAccount]:
    """A mailbox with forty messages in a dozen folders, synced, its bytes not kept."""
    store = StoreSettings(raw=False)
    async with graph_account(database_url, tmp_path / "keys", messages=40, store=store) as account:
        await account.sync()
        account.usage.reset()
        yield account


def inbox(account: GraphAccount) -> Sequence[Message]:
    return account.mailbox.in_folder("inbox")


# Cursors that expire


async def test_an_expired_cursor_resyncs_its_folder_alone(account: GraphAccount) -> None:
    links = await account.links()
    account.mailbox.expire_tokens("inbox", answer=ExpiredAnswer.NESTED)

    await account.sync()

    after = await account.links()
    assert {path for path in links if links[path] != after[path]} >= {"Inbox"}
    assert account.usage.calls["messages.delta"] == len(links) + 1
    await account.assert_equal()


async def test_an_expired_hierarchy_link_lists_the_folders_again(account: GraphAccount) -> None:
    travel = next(f for f in account.mailbox.folders.values() if f.display_name == "Travel")
    account.mailbox.delete_folder(travel.id)
    account.mailbox.rename_folder("archive", "Old things")
    account.mailbox.expire_tokens("")

    await account.sync()

    await account.assert_equal()


async def test_a_first_round_whose_next_link_expires_goes_on_without_fetching_twice(
    database_url: str, tmp_path: Path
) -> None:
    store = StoreSettings(raw=False)
    async with graph_account(database_url, tmp_path / "keys", messages=900, store=store) as account:
        while not await account.count("messages"):
            assert await account.run_once(quantum=timedelta())
        before = await account.count("messages")
        account.mailbox.delete(inbox(account)[-1].id)
        account.mailbox.expire_tokens("inbox", kinds=[LinkKind.NEXT])
        account.usage.reset()

        await account.sync()

        await account.assert_equal()
        assert 0 < before < 900


async def test_an_incremental_round_whose_next_link_expires_goes_back_to_its_delta_link(
    account: GraphAccount,
) -> None:
    account.emulator.ledger.deliver_generated(OWNER, count=450)
    assert await account.run_once(quantum=timedelta())
    while (await account.links())["Inbox"][1] is None:
        assert await account.run_once(quantum=timedelta())
    account.mailbox.expire_tokens("inbox", kinds=[LinkKind.NEXT])

    await account.sync()

    await account.assert_equal()


# Rounds that never end


@pytest.mark.parametrize("loop", Loop)
async def test_a_round_without_end_is_left_and_the_old_cursor_kept(
    account: GraphAccount, loop: Loop
) -> None:
    """microsoft-graph-docs issues 4897 and 21096, msgraph-sdk-dotnet issues 3070 and 3082."""
    links = await account.links()
    account.emulator.ledger.deliver_generated(OWNER, count=25)
    account.mailbox.quirks.loop = loop

    with pytest.raises(ServerRefused):
        await account.sync()

    assert account.http_requests < 200
    after = await account.links()
    assert after["Inbox"] == links["Inbox"]
    account.mailbox.quirks.loop = None
    await account.sync()
    await account.assert_equal()


@pytest.mark.parametrize("loop", Loop)
async def test_a_first_round_without_end_begins_anew_when_it_can(
    database_url: str, tmp_path: Path, loop: Loop
) -> None:
    async with graph_account(database_url, tmp_path / "keys", messages=40) as account:
        account.mailbox.quirks.loop = loop
        with pytest.raises(ServerRefused):
            await account.sync()
        account.mailbox.quirks.loop = None

        await account.sync()

        await account.assert_equal()


# Pages that are not as they should be


async def test_duplicates_and_empty_pages_change_nothing(account: GraphAccount) -> None:
    account.mailbox.quirks.duplicates = True
    account.mailbox.quirks.empty_page_every = 2
    account.emulator.ledger.deliver_generated(OWNER, count=450)
    account.mailbox.set_read(inbox(account)[0].id, is_read=False)

    await account.sync()

    await account.assert_equal()


async def test_a_partial_item_blanks_nothing(account: GraphAccount) -> None:
    message = (
        next(m for m in inbox(account) if not m.is_read)
        if any(not m.is_read for m in inbox(account))
        else inbox(account)[0]
    )
    account.mailbox.set_flag(message.id)
    account.mailbox.categorise(message.id, ["Important"])
    await account.sync()
    before = await account.connection.fetchrow(
        "SELECT subject, body_html, is_starred, keywords, received_at FROM messages"
        " WHERE remote_id = $1",
        message.id,
    )
    account.mailbox.set_read(message.id, is_read=not message.is_read)

    await account.sync()

    after = await account.connection.fetchrow(
        "SELECT subject, body_html, is_starred, keywords, received_at FROM messages"
        " WHERE remote_id = $1",
        message.id,
    )
    assert before is not None
    assert before["is_starred"]
    assert after == before
    await account.assert_equal()


async def test_headers_that_delta_pages_lack_are_done_without(account: GraphAccount) -> None:
    account.mailbox.quirks.headers_in_delta = False
    account.emulator.ledger.deliver_generated(OWNER, count=5)

    await account.sync()

    await account.assert_equal()
    assert account.http_requests <= 6


async def test_a_message_that_was_changed_before_it_was_seen_is_fetched_whole(
    account: GraphAccount,
) -> None:
    """A page tells of it in part; nothing is known to be changed."""
    made = account.emulator.ledger.deliver_generated(OWNER, count=3)
    account.mailbox.set_read(made[1].id)

    await account.sync()

    await account.assert_equal()


# Links that lead elsewhere


async def test_a_link_to_another_host_is_never_followed(account: GraphAccount) -> None:
    asked: list[str] = []

    async def attacker(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])

    async with serve(attacker) as elsewhere:
        account.mailbox.quirks.link_base = elsewhere
        account.emulator.ledger.deliver_generated(OWNER, count=30)
        with pytest.raises(ServerRefused, match="another host"):
            await account.sync()

    assert asked == []
    account.mailbox.quirks.link_base = None
    await account.sync()
    await account.assert_equal()


async def test_links_of_an_api_that_is_configured_no_more_cost_a_resync(
    account: GraphAccount,
) -> None:
    """A mailbox moved to a sovereign cloud, say: the stored links lead to the old host."""
    await account.connection.execute(
        "UPDATE folders SET delta_link = replace(delta_link, '127.0.0.1', 'graph.example.org')"
    )
    await account.connection.execute(
        "UPDATE provider_configs"
        " SET last_delta_link = replace(last_delta_link, '127.0.0.1', 'graph.example.org')"
    )
    before = (await account.row_versions())["messages"]

    await account.sync()

    await account.assert_equal()
    assert (await account.row_versions())["messages"] == before
