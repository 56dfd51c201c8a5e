"""After whatever happens in a Gmail mailbox, one sync makes the database equal to it."""

from emailsync.emulators.gmail.life import fill
from gmail_account import GmailAccount


async def test_a_first_sync_stores_every_message_with_its_labels_and_flags(
    account: GmailAccount,
) -> None:
    fill(account.mailbox, 230)

    await account.sync()

    await account.assert_equal()
    assert await account.unexplained_counts() == []
    assert (await account.cursor())["resume_token"] is None
