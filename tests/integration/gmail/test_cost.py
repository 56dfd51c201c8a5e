"""What a sync costs: HTTP requests and quota units, as the emulator counts them."""

from pathlib import Path

import pytest

from emailsync.config import GoogleLimits
from emailsync.domain.errors import QuotaSpent
from emailsync.emulators.gmail.life import fill
from emailsync.emulators.gmail.quota import Quota
from gmail_account import GmailAccount, gmail_account


async def test_a_sync_with_nothing_new_asks_for_the_history_and_the_labels(
    account: GmailAccount,
) -> None:
    fill(account.mailbox, 60)
    await account.sync()
    account.usage.reset()

    await account.sync()

    assert dict(account.usage.calls) == {"labels.list": 1, "history.list": 1}
    assert account.usage.requests.total() == 2
    assert account.usage.units == 3


async def test_a_thousand_new_messages_take_at_most_thirty_requests_and_twenty_units_each(
    account: GmailAccount,
) -> None:
    await account.sync()
    for _ in range(1_000):
        account.mailbox.deliver_generated()
    account.usage.reset()

    await account.sync()

    await account.assert_equal()
    assert account.usage.calls["messages.get"] == 1_000
    assert account.usage.requests.total() <= 30
    assert account.usage.units - 20 * 1_000 < 20
    assert account.usage.throttled == 0


async def test_a_first_sync_of_a_thousand_messages_takes_no_more(account: GmailAccount) -> None:
    fill(account.mailbox, 1_000)

    await account.sync()

    assert account.usage.calls["messages.get"] == 1_000
    assert account.usage.requests.total() <= 30
    assert account.usage.units - 20 * 1_000 < 50


@pytest.mark.parametrize(("preset", "stored"), [("2026", 149), ("classic", 1_496)])
async def test_half_of_the_documented_quota_is_used_and_no_429_is_answered(
    database_url: str, tmp_path: Path, preset: str, stored: int
) -> None:
    """What the quota still allows is stored, and the job waits for the rest in its queue."""
    user_units = {"2026": 6_000, "classic": 15_000}[preset]
    limits = GoogleLimits.model_validate({"prices": preset, "user_units_per_minute": user_units})
    quota = Quota.preset(preset)
    async with gmail_account(
        database_url, tmp_path / "keys", quota=quota, limits=limits
    ) as account:
        fill(account.mailbox, 1_600)

        with pytest.raises(QuotaSpent) as spent:
            await account.sync()

        assert 0 < spent.value.frees_in.total_seconds() <= 61
        assert account.usage.throttled == 0
        assert user_units / 2 - 20 < account.usage.peak_mailbox_units() <= user_units / 2
        assert await account.count("messages") >= stored
        assert await account.count("messages") == account.usage.calls["messages.get"]
