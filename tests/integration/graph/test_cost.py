"""What a sync costs at Graph, read from the emulator: HTTP requests, quota, requests at once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emailsync.config import MicrosoftLimits, StoreSettings
from emailsync.domain.errors import QuotaSpent
from emailsync.emulators.graph.throttling import Limits
from graph_account import OWNER, GraphAccount, graph_account

NO_RAW = StoreSettings(raw=False)
FIFTEEN = tuple(f"Folder {n}" for n in range(7))  #: with the eight that every mailbox has


@pytest.fixture
async def account(database_url: str, tmp_path: Path) -> AsyncIterator[GraphAccount]:
    """A mailbox of fifteen folders, synced."""
    async with graph_account(
        database_url, tmp_path / "keys", messages=30, folders=FIFTEEN, store=NO_RAW
    ) as account:
        await account.sync()
        account.usage.reset()
        yield account


async def test_a_sync_without_news_takes_two_requests(account: GraphAccount) -> None:
    assert await account.count("folders") == 15

    await account.sync()

    assert account.usage.requests == {
        "GET /v1.0/{path:path}": 1,
        "POST /v1.0/$batch": 1,
    }
    assert account.usage.units == 16


async def test_folders_beyond_twenty_take_one_more_request_for_each_twenty(
    account: GraphAccount,
) -> None:
    for number in range(30):
        account.mailbox.create_folder(f"More {number}")
    await account.sync()
    account.usage.reset()

    await account.sync()

    assert await account.count("folders") == 45
    assert account.http_requests == 1 + 3


async def test_a_thousand_new_messages_take_at_most_twenty_five_requests(
    account: GraphAccount,
) -> None:
    account.emulator.ledger.deliver_generated(OWNER, count=1_000)

    counts = await account.sync()

    assert counts.created == 1_000
    assert account.http_requests <= 25
    assert account.usage.throttled == 0
    await account.assert_equal()


async def test_every_request_asks_for_immutable_ids(account: GraphAccount) -> None:
    """Links, parts of batches and bytes included: one without it would name another message."""
    account.emulator.ledger.deliver_generated(OWNER, count=30)
    account.mailbox.delete(account.mailbox.in_folder("inbox")[0].id)
    account.mailbox.create_folder("One more")

    await account.sync()

    assert account.emulator.service.id_types["immutable"] > 0
    assert account.emulator.service.id_types["regular"] == 0


@pytest.mark.parametrize("keeps_raw", [True, False])
async def test_half_of_the_requests_that_a_mailbox_may_have_at_once_are_used(
    database_url: str, tmp_path: Path, *, keeps_raw: bool
) -> None:
    limits = Limits(service_time_s=0.005)
    store = StoreSettings(raw=keeps_raw)
    async with graph_account(
        database_url, tmp_path / "keys", messages=60, limits=limits, store=store
    ) as account:
        await account.sync()
        for message in account.mailbox.in_folder("inbox")[:10]:
            account.mailbox.delete(message.id)
        account.emulator.ledger.deliver_generated(OWNER, count=20)
        await account.sync()

        await account.assert_equal()
        assert account.usage.peak_running[OWNER] <= 2
        assert account.usage.throttled == 0


async def test_where_all_of_the_limit_may_be_used_batches_run_side_by_side(
    database_url: str, tmp_path: Path
) -> None:
    limits = Limits(service_time_s=0.005)
    async with graph_account(
        database_url,
        tmp_path / "keys",
        messages=30,
        limits=limits,
        ours=MicrosoftLimits(utilisation=1.0),
    ) as account:
        await account.sync()
        account.emulator.ledger.deliver_generated(OWNER, count=20)
        await account.sync()

        await account.assert_equal()
        assert account.usage.peak_running[OWNER] == 4
        assert account.usage.throttled == 0


async def test_a_mailbox_that_has_used_its_share_goes_on_when_it_frees(
    database_url: str, tmp_path: Path
) -> None:
    ours = MicrosoftLimits(mailbox_requests_per_10_minutes=100)
    async with graph_account(database_url, tmp_path / "keys", messages=200, ours=ours) as account:
        with pytest.raises(QuotaSpent) as spent:
            await account.sync()

        assert spent.value.frees_in.total_seconds() > 500
        assert account.usage.peak_mailbox_units(OWNER) <= 50
        assert await account.count("messages") >= 20
