"""Messages too large for a batch come alone, and those over the limit without their bodies."""

from pathlib import Path

from emailsync.config import StoreSettings
from emailsync.emulators.gmail.errors import as_fault, invalid_argument
from emailsync.emulators.gmail.life import fill
from gmail_account import GmailAccount, gmail_account

HEADERS = b"Subject: large\r\nFrom: ann@example.com\r\n\r\n"
MIB = 1024 * 1024


async def test_a_message_too_large_for_a_batch_is_fetched_alone(account: GmailAccount) -> None:
    fill(account.mailbox, 70)
    account.mailbox.deliver(HEADERS + b"x" * (13 * MIB))
    for _ in range(10):
        account.mailbox.deliver_generated()

    await account.sync()

    await account.assert_equal()
    # One batch was in vain; a search then told which message was at fault.
    assert account.usage.calls["messages.get"] == 81 + 50
    assert account.usage.requests["GET /gmail/v1/users/{user}/messages/{id}"] == 1


async def test_without_a_search_batches_are_halved_until_it_is_found(account: GmailAccount) -> None:
    fill(account.mailbox, 30)
    account.mailbox.deliver(HEADERS + b"x" * (13 * MIB))
    account.emulator.faults.add(as_fault(invalid_argument("no search"), on="q=larger"))

    await account.sync()

    await account.assert_equal()


async def test_many_middling_messages_make_smaller_batches(account: GmailAccount) -> None:
    for _ in range(40):
        account.mailbox.deliver(HEADERS + b"x" * MIB)

    await account.sync()

    await account.assert_equal()
    # In vain were 40 at once, and 20; from then on 9 were asked for at a time.
    assert account.usage.calls["messages.get"] == 40 + 20 + 40


async def test_batches_grow_again_behind_messages_that_had_to_come_alone(
    account: GmailAccount,
) -> None:
    """Two of these are too much for an answer, and none is large enough for the search."""
    fill(account.mailbox, 120)
    for _ in range(4):
        account.mailbox.deliver(HEADERS + b"x" * (7 * MIB))

    await account.sync()

    await account.assert_equal()
    assert account.usage.requests["GET /gmail/v1/users/{user}/messages/{id}"] < 15
    assert account.usage.requests.total() < 40


async def test_of_a_message_over_the_limit_only_the_headers_are_kept(
    database_url: str, tmp_path: Path
) -> None:
    store = StoreSettings(max_message_bytes=100_000)
    async with gmail_account(database_url, tmp_path / "keys", store=store) as account:
        in_a_batch = account.mailbox.deliver(HEADERS + b"x" * 150_000)
        beyond_all = account.mailbox.deliver(HEADERS + b"x" * (13 * MIB))
        fits = account.mailbox.deliver(HEADERS + b"x" * 99_000)

        await account.sync()

        rows = await account.connection.fetch(
            "SELECT remote_id, subject, is_truncated, size_bytes, raw FROM messages"
        )
        stored = {row["remote_id"]: row for row in rows}
        assert {row["subject"] for row in rows} == {"large"}
        for name, size_bytes in ((in_a_batch, 150_000), (beyond_all, 13 * MIB)):
            assert stored[name]["is_truncated"]
            assert stored[name]["raw"] == HEADERS
            assert stored[name]["size_bytes"] == size_bytes + len(HEADERS)
        assert not stored[fits]["is_truncated"]


async def test_a_message_over_the_limit_is_not_fetched_again_and_again(
    database_url: str, tmp_path: Path
) -> None:
    store = StoreSettings(max_message_bytes=100_000)
    async with gmail_account(database_url, tmp_path / "keys", store=store) as account:
        account.mailbox.deliver(HEADERS + b"x" * (13 * MIB))
        await account.sync()
        account.usage.reset()

        await account.sync()

        assert account.usage.requests.total() == 2
