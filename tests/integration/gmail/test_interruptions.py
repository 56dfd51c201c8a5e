"""A Gmail sync that is cut anywhere goes on from there and fetches nothing stored again."""

from collections.abc import Callable
from datetime import timedelta

import anyio
import pytest

from emailsync.emulators.gmail.ledger import GmailMailbox
from emailsync.emulators.gmail.life import fill
from emailsync.sync.progress import QUANTUM
from gmail_account import GmailAccount

NO_TIME = timedelta()


async def stored_names(account: GmailAccount) -> set[str]:
    rows = await account.connection.fetch("SELECT remote_id FROM messages WHERE deleted_at IS NULL")
    return {row["remote_id"] for row in rows}


async def test_a_first_sync_in_slices_fetches_no_stored_message_again(
    account: GmailAccount,
) -> None:
    fill(account.mailbox, 1_130)
    more, slices = True, 0

    while more:
        before = await stored_names(account)
        account.wire.requested.clear()
        more = await account.run_once(NO_TIME)
        slices += 1
        assert before.isdisjoint(account.wire.requested)

    await account.assert_equal()
    assert slices > 10


async def test_a_first_sync_brings_the_newest_mail_first(account: GmailAccount) -> None:
    fill(account.mailbox, 300)
    newest = [name for _, name in account.mailbox.newest_first()][:100]

    stored: set[str] = set()
    while not stored:
        await account.run_once(NO_TIME)
        stored = await stored_names(account)

    assert stored == set(newest)


async def test_what_arrives_during_a_first_sync_does_not_wait_for_its_end(
    account: GmailAccount,
) -> None:
    fill(account.mailbox, 700)
    while not await stored_names(account):
        await account.run_once(NO_TIME)

    new = account.mailbox.deliver_generated()
    while new not in await stored_names(account):
        assert await account.run_once(NO_TIME)

    assert len(await stored_names(account)) < 700
    await account.sync()
    await account.assert_equal()


async def test_mail_that_changes_during_a_first_sync_ends_up_as_it_is(
    account: GmailAccount,
) -> None:
    fill(account.mailbox, 700)
    number = 0

    more = True
    while more:
        more = await account.run_once(NO_TIME)
        if number % 6 == 0:
            _change_something(account.mailbox, number)
        number += 1
    await account.sync()

    await account.assert_equal()


def _change_something(mailbox: GmailMailbox, number: int) -> None:
    names = [name for _, name in mailbox.newest_first()]
    mailbox.deliver_generated()
    mailbox.delete(names[number * 7 % len(names)])
    for place, change in ((0.2, mailbox.star), (0.4, mailbox.trash), (0.6, mailbox.archive)):
        name = names[int(place * len(names))]
        if name in mailbox.messages:
            change(name)


@pytest.mark.parametrize("quantum", [NO_TIME, QUANTUM])
async def test_deletions_that_shift_the_pages_of_a_list_hide_no_message(
    account: GmailAccount, quantum: timedelta
) -> None:
    """Whatever a page token means, a message that moved up past it is found."""
    account.emulator.behaviour.listing_by_position = True
    fill(account.mailbox, 1_300)
    newest = [name for _, name in account.mailbox.newest_first()][:40]

    def delete_after_the_first_page(_: int, path: str) -> None:
        if path.startswith("/batch") and newest[0] in account.mailbox.messages:
            for name in newest:
                account.mailbox.delete(name)

    account.wire.before_request = delete_after_the_first_page
    while await account.run_once(quantum):
        pass

    await account.assert_equal()


async def test_a_place_in_the_list_that_gmail_does_not_know_any_more_is_looked_for_anew(
    account: GmailAccount,
) -> None:
    fill(account.mailbox, 700)
    while not (await account.cursor())["resume_token"] or not await stored_names(account):
        await account.run_once(NO_TIME)
    await account.connection.execute(
        """UPDATE provider_configs SET resume_token =
        '{"stage": "listing", "at": "?", "compares": false, "is_shifted": false}'"""
    )

    await account.sync()

    await account.assert_equal()


def _first_sync(mailbox: GmailMailbox) -> None:
    fill(mailbox, 170)


def _changes(mailbox: GmailMailbox) -> None:
    for number, name in enumerate(list(mailbox.messages)):
        (mailbox.star, mailbox.archive, mailbox.delete, mailbox.mark_read)[number % 4](name)
    for _ in range(60):
        mailbox.deliver_generated()
    mailbox.delete_label("Label_1")


def _changes_without_history(mailbox: GmailMailbox) -> None:
    _changes(mailbox)
    mailbox.expire_history()


@pytest.mark.parametrize("work", [_first_sync, _changes, _changes_without_history])
async def test_a_sync_that_is_killed_at_any_request_loses_and_doubles_nothing(
    account: GmailAccount, work: Callable[[GmailMailbox], None]
) -> None:
    if work is not _first_sync:
        fill(account.mailbox, 170)
        await account.sync()
    work(account.mailbox)
    is_cut, request = True, 0

    while is_cut:
        request += 1
        before = await stored_names(account)
        account.wire.requested.clear()
        with anyio.CancelScope() as scope:
            first = account.wire.requests
            last = first + request
            account.wire.before_request = lambda number, _, scope=scope, last=last: (
                scope.cancel() if number == last else None
            )
            await account.sync()
        is_cut = scope.cancelled_caught
        fetched = [name for name in account.wire.requested if name in account.mailbox.messages]
        assert before.isdisjoint(fetched)

    await account.assert_equal()
    before_versions = await account.row_versions()
    await account.sync()
    assert await account.row_versions() == before_versions
