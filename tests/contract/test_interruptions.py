"""Cut short anywhere, a sync loses nothing, doubles nothing, and the next one goes on."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import anyio
import pytest

from contract.account_under_test import AccountUnderTest, changes_between
from contract.cut_short import Awaits
from contract.mailbox_under_test import MailboxUnderTest

POINTS = 7  #: of cancellation, in each of three kinds of work
MOST_SLICES = 200


def _fill(mailbox: MailboxUnderTest, messages: int) -> None:
    mailbox.deliver(messages)
    mailbox.deliver(messages // 3, mailbox.projects)
    for message in mailbox.messages(mailbox.inbox)[::3]:
        mailbox.set_read(message, is_read=True)


def _live(mailbox: MailboxUnderTest, number: int) -> None:
    """Let one of everything happen."""
    first, second, third, *_ = mailbox.messages(mailbox.inbox)
    mailbox.set_starred(first, is_starred=number % 2 == 0)
    mailbox.move(second, mailbox.travel)
    mailbox.delete(third)
    mailbox.deliver(3)
    mailbox.create_folder(f"Made {number}")
    mailbox.deliver(1, f"Made {number}")


async def _assert_nothing_is_doubled(account: AccountUnderTest) -> None:
    stored = await account.stored()
    assert await account.feed() == Counter((message, "created") for message in stored.mail)


async def test_a_first_sync_in_slices_of_a_page_ends_in_the_same_state(
    account: AccountUnderTest,
) -> None:
    _fill(account.mailbox, 110)
    slices = 1

    while await account.slice():
        slices += 1
        assert slices < MOST_SLICES

    await account.assert_equal()
    assert slices > 3
    await _assert_nothing_is_doubled(account)


async def test_changes_in_slices_of_a_page_end_in_the_same_state(
    account: AccountUnderTest,
) -> None:
    _fill(account.mailbox, 30)
    await account.sync()
    stored, place = await account.stored(), await account.end_of_feed()
    _live(account.mailbox, 0)
    slices = 1

    while await account.slice():
        slices += 1
        assert slices < MOST_SLICES

    await account.assert_equal()
    assert await account.feed(after=place) == changes_between(stored, await account.stored())


async def _killed_after(account: AccountUnderTest, page: int) -> bool:
    """Sync and be killed as soon as so many pages are stored; return whether it came to that."""
    with anyio.CancelScope() as scope:
        await account.watched(lambda number: scope.cancel() if number == page else None)
    return scope.cancel_called


async def test_a_first_sync_killed_after_any_page_is_made_up_for(
    account: AccountUnderTest,
) -> None:
    """A stored cursor is true: what it has passed is stored."""
    _fill(account.mailbox, 12)
    page = 1

    while await _killed_after(account, page):
        await account.sync()
        await account.assert_equal()
        await account.assert_counted()
        await _assert_nothing_is_doubled(account)
        await account.forget()
        page += 1

    assert page > 3


async def test_a_sync_of_changes_killed_after_any_page_is_made_up_for(
    account: AccountUnderTest,
) -> None:
    _fill(account.mailbox, 24)
    await account.sync()
    page, was_killed = 0, True

    while was_killed:
        page += 1
        stored, place = await account.stored(), await account.end_of_feed()
        _live(account.mailbox, page)
        was_killed = await _killed_after(account, page)
        await account.sync()
        await account.assert_equal()
        await account.assert_counted()
        assert await account.feed(after=place) == changes_between(stored, await account.stored())

    assert page > 2


async def _never_synced(account: AccountUnderTest, _: int) -> None:
    await account.forget()


async def _something_new(account: AccountUnderTest, number: int) -> None:
    await account.sync()
    _live(account.mailbox, number)


async def _no_bookmark(account: AccountUnderTest, number: int) -> None:
    await _something_new(account, number)
    account.mailbox.expire_cursors()
    # Days ago: an IMAP folder that is made anew again and again is left alone.
    await account.execute("UPDATE folders SET generations = 0")


@pytest.mark.parametrize("work", [_never_synced, _something_new, _no_bookmark])
async def test_cancelled_at_any_await_the_next_sync_makes_up_for_it(
    account: AccountUnderTest, work: Callable[[AccountUnderTest, int], Awaitable[None]]
) -> None:
    chance = random.Random(work.__name__)
    _fill(account.mailbox, 24)
    await work(account, POINTS)
    awaits = (await Awaits(account.sync()).run()).count
    cancelled = 0

    for point in range(POINTS):
        await work(account, point)
        cut = await Awaits(account.sync(), cancel_at=chance.randint(1, awaits)).run()
        cancelled += cut.was_cancelled
        await account.sync()
        await account.assert_equal()

    assert cancelled > POINTS // 2
