"""`reconcile` makes a folder right again that is wrong in the database; `test` opens nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from contract.account_under_test import AccountUnderTest
from contract.mailbox_under_test import MailboxUnderTest, Trouble
from emailsync.domain.errors import AuthRefused, SyncError, Throttled, Unreachable
from emailsync.domain.folders import FolderId
from emailsync.domain.pages import FolderCheck
from waiting import until

LOOKS = 10  #: at a mailbox, one after the other
CLOSED_WITHIN_S = 5.0

#: What somebody does to the database behind our back, to the inbox's messages alone.
LOST_PLACEMENT = """
    DELETE FROM message_folders WHERE message_id IN (
        SELECT message_id FROM message_folders JOIN folders ON id = folder_id
        WHERE role = 'inbox' ORDER BY message_id LIMIT 2
    )
"""
LOST_MESSAGE = """
    DELETE FROM messages WHERE id IN (
        SELECT message_id FROM message_folders JOIN folders ON id = folder_id
        WHERE role = 'inbox' ORDER BY message_id LIMIT 2
    )
"""
WRONG_FLAGS = """
    UPDATE messages SET is_read = NOT is_read, is_starred = NOT is_starred WHERE id IN (
        SELECT message_id FROM message_folders JOIN folders ON id = folder_id
        WHERE role = 'inbox' ORDER BY message_id LIMIT 2
    )
"""


@pytest.mark.parametrize(
    "tampering",
    [LOST_PLACEMENT, LOST_MESSAGE, WRONG_FLAGS],
    ids=["lost placement", "lost message", "wrong flags"],
)
async def test_a_folder_that_was_tampered_with_is_made_right_again(
    account: AccountUnderTest, tampering: str
) -> None:
    mailbox = account.mailbox
    mailbox.deliver(12)
    mailbox.deliver(4, mailbox.projects)
    await account.sync()
    await account.execute(tampering)
    inbox = next(
        folder
        for folder, (path, _) in (await account.stored()).folders.items()
        if path == mailbox.inbox
    )

    check = await account.reconcile(mailbox.inbox)

    await account.assert_equal()
    assert check == FolderCheck(folder_id=FolderId(inbox), remote_count=12)


async def test_a_folder_that_is_right_is_compared_without_a_write(
    account: AccountUnderTest,
) -> None:
    account.mailbox.deliver(12)
    await account.sync()
    before = await account.rows()

    check = await account.reconcile(account.mailbox.inbox)

    assert check is not None
    assert check.remote_count == 12
    assert {row.table for row in before ^ await account.rows()} <= {"folders"}


Break = Callable[[MailboxUnderTest], None]
BREAKS: list[tuple[Break, type[SyncError]]] = [
    (lambda mailbox: mailbox.refuse_login(), AuthRefused),
    (lambda mailbox: mailbox.fail(Trouble.CUT, after=0), Unreachable),
    (lambda mailbox: mailbox.fail(Trouble.THROTTLED, after=0), Throttled),
]


@pytest.mark.parametrize(("breaks", "expected"), BREAKS, ids=["refused", "cut", "throttled"])
async def test_a_test_of_an_account_raises_what_its_sync_would(
    account: AccountUnderTest, breaks: Break, expected: type[SyncError]
) -> None:
    tested = await account.account()
    await account.opener.test(tested)
    breaks(account.mailbox)

    with pytest.raises(expected):
        await account.opener.test(tested)
    with pytest.raises(expected):
        await account.sync()

    account.mailbox.heal()
    await account.opener.test(tested)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_test_of_an_account_stores_nothing_and_leaves_nothing_open(
    account: AccountUnderTest,
) -> None:
    account.mailbox.deliver(3)
    tested = await account.account()
    await account.opener.test(tested)  # what all accounts share is open from now on
    before, open_files = await account.rows(), _open_files()

    for _ in range(LOOKS):
        await account.opener.test(tested)

    assert await account.rows() == before
    # The other ends are in this process, and close later.
    await until(lambda: _open_files() <= open_files, within_s=CLOSED_WITHIN_S)
