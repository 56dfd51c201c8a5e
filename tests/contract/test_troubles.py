"""Whatever a provider answers is a `SyncError`, and no error, gap or silence deletes mail."""

from collections.abc import Mapping
from contextlib import suppress

import pytest

from contract.account_under_test import AccountUnderTest, StoredMailbox, changes_between
from contract.mailbox_under_test import Lie, MailboxUnderTest, Trouble
from emailsync.domain.errors import (
    AuthRefused,
    QuotaSpent,
    Retryable,
    SyncError,
    Throttled,
    Unreachable,
)

EXPECTED: Mapping[Trouble, tuple[type[SyncError], ...]] = {
    Trouble.CUT: (Unreachable,),
    Trouble.THROTTLED: (Throttled, QuotaSpent),
    Trouble.GARBAGE: (Retryable,),
}
GOOD_ANSWERS = (0, 1, 2, 3, 5, 8, 13)  #: before the trouble begins


async def _sync_in(account: AccountUnderTest, trouble: Trouble, *, after: int) -> bool:
    """Sync while the answers go wrong after some good ones; return whether the sync failed.

    Any error but those expected of this trouble fails the test.
    """
    account.mailbox.fail(trouble, after=after)
    try:
        await account.sync()
    except EXPECTED[trouble]:
        return True
    finally:
        account.mailbox.heal()
    return False


async def _deleted(account: AccountUnderTest) -> int:
    return await account.rig.count("changes WHERE kind = 'deleted'")


def _fill(mailbox: MailboxUnderTest) -> None:
    mailbox.deliver(20)
    mailbox.deliver(5, mailbox.projects)


def _live(mailbox: MailboxUnderTest) -> None:
    """Let things happen, but nothing be deleted."""
    first, second, *_ = mailbox.messages(mailbox.inbox)
    mailbox.set_read(first, is_read=True)
    mailbox.move(second, mailbox.travel)
    mailbox.deliver(4)


@pytest.mark.parametrize("trouble", Trouble)
async def test_trouble_in_a_first_sync_is_made_up_for_by_the_next(
    account: AccountUnderTest, trouble: Trouble
) -> None:
    _fill(account.mailbox)

    failures = sum([await _sync_in(account, trouble, after=good) for good in GOOD_ANSWERS])
    await account.sync()

    await account.assert_equal()
    assert failures >= 3
    assert await _deleted(account) == 0
    assert await account.rig.count("changes") == 25


@pytest.mark.parametrize("trouble", Trouble)
async def test_trouble_in_a_later_sync_is_made_up_for_by_the_next(
    account: AccountUnderTest, trouble: Trouble
) -> None:
    _fill(account.mailbox)
    await account.sync()

    for good in (0, 2, 5):
        stored, place = await account.stored(), await account.end_of_feed()
        _live(account.mailbox)
        has_failed = await _sync_in(account, trouble, after=good)
        assert has_failed or good
        await account.sync()
        await account.assert_equal()
        assert await account.feed(after=place) == changes_between(stored, await account.stored())

    assert await _deleted(account) == 0


async def test_a_refused_login_is_the_same_decision_everywhere(account: AccountUnderTest) -> None:
    _fill(account.mailbox)
    await account.sync()
    before = await account.rows()
    _live(account.mailbox)
    account.mailbox.refuse_login()

    with pytest.raises(AuthRefused):
        await account.sync()

    assert await account.rows() == before
    account.mailbox.heal()
    await account.sync()
    await account.assert_equal()


def _kept(before: StoredMailbox, after: StoredMailbox) -> int:
    return len(before.mail.keys() & after.mail.keys())


async def test_without_a_bookmark_every_change_is_found_and_every_row_kept(
    account: AccountUnderTest,
) -> None:
    mailbox = account.mailbox
    _fill(mailbox)
    await account.sync()
    before, place = await account.stored(), await account.end_of_feed()

    _live(mailbox)
    for message in mailbox.messages(mailbox.inbox)[3:6]:
        mailbox.delete(message)
    mailbox.trash(mailbox.messages(mailbox.projects)[0])
    mailbox.expire_cursors()
    await account.sync()

    await account.assert_equal()
    after = await account.stored()
    assert _kept(before, after) == 22
    # On the way from one list to the next a message may be told of twice, but none without need.
    assert set(await account.feed(after=place)) == set(changes_between(before, after))
    rows = await account.rows()
    await account.sync()
    assert await account.rows() == rows


async def test_without_a_bookmark_nothing_is_told_where_nothing_happened(
    account: AccountUnderTest,
) -> None:
    _fill(account.mailbox)
    await account.sync()
    before, place = await account.stored(), await account.end_of_feed()

    account.mailbox.expire_cursors()
    await account.sync()

    await account.assert_equal()
    assert await account.feed(after=place) == changes_between(before, await account.stored())


@pytest.mark.parametrize("messages", [20, 70])
@pytest.mark.parametrize("lie", Lie)
async def test_a_list_that_shows_too_little_deletes_nothing(
    account: AccountUnderTest, lie: Lie, messages: int
) -> None:
    """Of few messages as of many; and once the lists are right again, so is what is stored."""
    account.mailbox.deliver(messages)
    await account.sync()
    before = await account.stored()

    account.mailbox.expire_cursors()
    account.mailbox.lie(lie)
    for _ in range(2):
        with suppress(SyncError):
            await account.sync()

    assert (await account.stored()).mail.keys() == before.mail.keys()
    assert await _deleted(account) == 0
    account.mailbox.heal()
    account.mailbox.deliver(1)
    await account.sync()
    await account.assert_equal()
    assert _kept(before, await account.stored()) == messages
