"""A large folder is compared page by page, over as many sessions as it takes."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from emailsync.config import StoreSettings
from emailsync.emulators.graph.quirks import LinkKind
from graph_account import OWNER, GraphAccount, graph_account

NO_TIME = timedelta()
LOST = 5
MOST_SLICES = 60


@pytest.fixture
async def account(database_url: str, tmp_path: Path) -> AsyncIterator[GraphAccount]:
    """A synced mailbox that has lost five old messages; its inbox is to be compared, in pages."""
    store = StoreSettings(raw=False)
    async with graph_account(
        database_url, tmp_path / "keys", messages=2_600, folders=(), store=store
    ) as account:
        await account.sync()
        assert len(account.mailbox.in_folder("inbox")) > 1_000
        await account.connection.execute(
            """
            DELETE FROM messages WHERE id IN (
                SELECT messages.id FROM messages
                JOIN message_folders AS place ON place.message_id = messages.id
                JOIN folders ON folders.id = folder_id AND role = 'inbox'
                ORDER BY messages.received_at LIMIT $1
            )
            """,
            LOST,
        )
        await account.connection.execute(
            "UPDATE folders SET comparison_due_at = CASE WHEN role = 'inbox' THEN now()"
            " ELSE 'infinity'::timestamptz END"
        )
        yield account


async def compare_link(account: GraphAccount) -> str | None:
    link: str | None = await account.connection.fetchval(
        "SELECT compare_link FROM folders WHERE role = 'inbox'"
    )
    return link


async def begin(account: GraphAccount) -> None:
    """Compare the first page."""
    assert await account.run_once(NO_TIME)
    assert await compare_link(account) is not None


async def test_new_mail_goes_before_a_comparison_that_goes_on_where_it_was_cut(
    account: GraphAccount,
) -> None:
    await begin(account)
    (new,) = account.emulator.ledger.deliver_generated(OWNER, count=1)
    account.usage.reset()

    assert await account.run_once(NO_TIME)
    assert await account.count(f"messages WHERE remote_id = '{new.id}'") == 1
    assert await compare_link(account) is not None
    slices = 1
    while await account.run_once(NO_TIME):
        slices += 1
        assert slices < MOST_SLICES

    await account.assert_equal()
    assert await compare_link(account) is None


async def test_a_comparison_whose_place_is_forgotten_begins_anew(account: GraphAccount) -> None:
    await begin(account)
    account.mailbox.expire_tokens("inbox", kinds=[LinkKind.NEXT])

    await account.sync()

    await account.assert_equal()
    assert await compare_link(account) is None


async def test_what_is_right_already_is_not_fetched_again(account: GraphAccount) -> None:
    account.usage.reset()

    await account.sync()

    await account.assert_equal()
    assert account.usage.calls["messages.get"] == LOST
    assert account.usage.calls["messages.delta"] < 30
