"""Syncs that are cut at any moment or fail at random: the next ones make up for all of it."""

import random
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from emailsync.config import StoreSettings
from emailsync.domain.errors import SyncError
from emailsync.emulators.faults import Failure, Fault
from graph_account import OWNER, GraphAccount, graph_account


async def live(account: GraphAccount, chance: random.Random) -> None:
    """Let a few things happen in the mailbox."""
    mailbox = account.mailbox
    messages = list(mailbox.messages.values())
    folders = [f.id for f in mailbox.folders.values() if f.parent is not None and not f.is_hidden]
    account.emulator.ledger.deliver_generated(OWNER, count=chance.randint(1, 5))
    for message in chance.sample(messages, 6):
        match chance.randrange(4):
            case 0:
                mailbox.set_read(message.id, is_read=not message.is_read)
            case 1:
                mailbox.move(message.id, chance.choice(folders))
            case 2:
                mailbox.set_flag(message.id)
            case _:
                mailbox.delete(message.id)
    if chance.random() < 0.3:
        mailbox.create_folder(f"Made {chance.random()}")
    if chance.random() < 0.3:
        mailbox.expire_tokens(chance.choice(["inbox", "archive", "", None]))


@pytest.mark.parametrize("keeps_raw", [True, False], ids=["raw", "no raw"])
async def test_a_first_sync_cut_into_the_smallest_slices_misses_nothing(
    database_url: str, tmp_path: Path, *, keeps_raw: bool
) -> None:
    store = StoreSettings(raw=keeps_raw)
    async with graph_account(database_url, tmp_path / "keys", messages=500, store=store) as account:
        slices = 0
        while await account.run_once(quantum=timedelta()):
            slices += 1
            if slices % 4 == 0:
                account.emulator.ledger.deliver_generated(OWNER)

        assert slices > 15
        await account.sync()
        await account.assert_equal()


async def test_new_mail_does_not_wait_for_the_first_round_to_end(
    database_url: str, tmp_path: Path
) -> None:
    store = StoreSettings(raw=False)
    async with graph_account(
        database_url, tmp_path / "keys", messages=1_500, folders=(), store=store
    ) as account:
        while (await account.links()).get("Inbox", (None, None))[1] is None:
            assert await account.run_once(quantum=timedelta())
        arrived = account.emulator.ledger.deliver_generated(OWNER)[0]
        # The generator's mail is old by its Date; it arrives now.
        assert await account.run_once(quantum=timedelta())
        assert await account.run_once(quantum=timedelta())

        found = await account.connection.fetchval(
            "SELECT count(*) FROM messages WHERE remote_id = $1", arrived.id
        )

        assert found == 1
        assert (await account.links())["Inbox"][1] is not None, "the round is still under way"


@pytest.mark.parametrize("seed", range(3))
async def test_cancelled_at_any_moment_the_next_sync_makes_up_for_it(
    database_url: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    async with graph_account(database_url, tmp_path / "keys", messages=60) as account:
        account.emulator.faults.latency_s = 0.005
        for _ in range(10):
            with anyio.move_on_after(chance.uniform(0.01, 0.5)):
                await account.sync()
            await live(account, chance)

        await account.sync()

        await account.assert_equal()


@pytest.mark.parametrize("seed", range(4))
async def test_failures_at_random_lose_nothing(
    database_url: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    store = StoreSettings(raw=seed % 2 == 0)
    async with graph_account(database_url, tmp_path / "keys", messages=60, store=store) as account:
        account.emulator.faults.add(
            Fault(probability=0.03, status=503),
            Fault(probability=0.03, failure=Failure.CUT),
            Fault(probability=0.02, failure=Failure.TRUNCATED),
            Fault(probability=0.02, failure=Failure.HTML),
        )
        for _ in range(12):
            with suppress(SyncError):
                await account.sync()
            await live(account, chance)
        account.emulator.faults.clear()
        await account.connection.execute(
            "UPDATE quarantine SET last_seen_at = now() - interval '25 hours'"
        )

        await account.sync()

        await account.assert_equal()
        before = await account.row_versions()
        await account.sync()
        assert await account.row_versions() == before


async def test_a_folder_that_could_not_be_counted_is_counted_by_the_next_sync(
    database_url: str, tmp_path: Path
) -> None:
    async with graph_account(database_url, tmp_path / "keys", messages=10) as account:
        account.emulator.faults.add(Fault(on=r"\$select=totalItemCount", status=503))
        while await account.run_once(quantum=timedelta()):
            pass
        uncounted = await account.unexplained_counts()
        account.emulator.faults.clear()

        await account.sync()

        assert uncounted
        assert await account.unexplained_counts() == []
