"""Once a week a folder is compared in full, for what no provider tells of; and then in slices."""

import pytest

from contract.account_under_test import AccountUnderTest

#: What a provider may never have told of: mail that it lists, other flags, a deletion.
UNTOLD = [
    """
    DELETE FROM messages WHERE id IN (
        SELECT message_id FROM message_folders JOIN folders ON id = folder_id
        WHERE role = 'inbox' ORDER BY message_id LIMIT 3
    )
    """,
    """
    UPDATE messages SET is_read = NOT is_read WHERE id IN (
        SELECT message_id FROM message_folders JOIN folders ON id = folder_id
        WHERE role = 'inbox' ORDER BY message_id LIMIT 3
    )
    """,
    """
    WITH ghost AS (
        UPDATE messages SET deleted_at = NULL WHERE deleted_at IS NOT NULL
        RETURNING tenant_id, id, nullif(split_part(remote_id, ':', 3), '')::bigint AS uid
    )
    INSERT INTO message_folders (tenant_id, folder_id, message_id, uid)
    SELECT ghost.tenant_id, folders.id, ghost.id, uid FROM ghost, folders WHERE role = 'inbox'
    """,
]
DUE = "UPDATE folders SET comparison_due_at = now()"
NOT_DUE = "UPDATE folders SET comparison_due_at = 'infinity'"
MOST_SLICES = 200


async def _tamper(account: AccountUnderTest, untold: str) -> None:
    """Let mail be stored other than it is, and nothing tell of it."""
    account.mailbox.deliver(13)
    await account.sync()
    account.mailbox.delete(account.mailbox.messages(account.mailbox.inbox)[0])
    await account.sync()
    await account.execute(untold)
    await account.execute(NOT_DUE)
    await account.sync()
    with pytest.raises(AssertionError):
        await account.assert_equal()


@pytest.mark.parametrize("untold", UNTOLD, ids=["missing", "flags", "ghost"])
async def test_what_no_provider_tells_of_is_found_when_it_is_time(
    account: AccountUnderTest, untold: str
) -> None:
    await _tamper(account, untold)

    await account.execute(DUE)
    await account.sync()
    await account.sync()  # where nobody can be asked by name, what is in no folder waits for it

    await account.assert_equal()
    await account.assert_counted()
    assert await account.rig.count("folders WHERE comparison_due_at < now()") == 0


@pytest.mark.parametrize("untold", UNTOLD, ids=["missing", "flags", "ghost"])
async def test_in_slices_of_a_page_a_comparison_comes_to_the_same_end(
    account: AccountUnderTest, untold: str
) -> None:
    await _tamper(account, untold)

    await account.execute(DUE)
    slices = 1
    while await account.slice():
        slices += 1
        assert slices < MOST_SLICES

    await account.assert_equal()
    await account.assert_counted()
    assert await account.rig.count("folders WHERE comparison_due_at < now()") == 0
    assert slices > 1


async def test_where_nothing_differs_a_comparison_writes_when_the_next_one_is_and_no_more(
    account: AccountUnderTest,
) -> None:
    account.mailbox.deliver(12)
    await account.sync()
    await account.execute(DUE)
    before, place = await account.rows(), await account.end_of_feed()

    await account.sync()

    changed = {row.table for row in before ^ await account.rows()}
    assert changed <= {"folders", "provider_configs"}  # Gmail's is a walk
    assert not await account.feed(after=place)
    due = "BETWEEN now() + interval '6 days' AND now() + interval '7 days'"
    assert await account.rig.count(f"folders WHERE NOT comparison_due_at {due}") == 0
