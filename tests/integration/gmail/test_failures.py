"""What goes wrong at Gmail and what a sync makes of it; F29 to F33 of the failures known."""

import random
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from emailsync.domain.errors import (
    AuthRefused,
    OperatorMustAct,
    QuotaSpent,
    Retryable,
    ServerRefused,
    SyncError,
    Throttled,
    Unreachable,
)
from emailsync.emulators.faults import Failure, Fault
from emailsync.emulators.gmail import errors
from emailsync.emulators.gmail.exchange import Reply
from emailsync.emulators.gmail.life import fill
from emailsync.providers.quota import ProjectThrottled
from gmail_account import GmailAccount

HISTORY = "GET /gmail/v1/users/me/history"
BATCH = "POST /batch"


async def synced(account: GmailAccount, messages: int) -> list[str]:
    """Return the ids of a mailbox that is synced, newest first."""
    fill(account.mailbox, messages)
    await account.sync()
    account.usage.reset()
    return [name for _, name in account.mailbox.newest_first()]


async def message_names(account: GmailAccount) -> set[str]:
    rows = await account.connection.fetch("SELECT remote_id FROM messages WHERE deleted_at IS NULL")
    return {row["remote_id"] for row in rows}


@pytest.mark.parametrize("page", [1, 2, 3])
async def test_f29_a_history_that_expires_at_any_page_is_made_up_for_by_a_comparison(
    account: GmailAccount, page: int
) -> None:
    names = await synced(account, 40)
    account.emulator.behaviour.blank_history_pages = True
    for name in names[:20]:
        account.mailbox.star(name)
        account.mailbox.delete(name)
    for _ in range(500):
        account.mailbox.deliver_generated()
    fault = errors.as_fault(errors.not_found(), on=HISTORY, calls=[page])
    account.emulator.faults.add(fault)

    await account.sync()

    await account.assert_equal()


async def test_f30_a_message_that_is_deleted_between_list_and_get_is_skipped(
    account: GmailAccount,
) -> None:
    fill(account.mailbox, 120)
    doomed = [name for _, name in account.mailbox.newest_first()][::7]

    def delete_before_the_first_batch(_: int, path: str) -> None:
        if path.startswith("/batch") and doomed[0] in account.mailbox.messages:
            for name in doomed:
                account.mailbox.delete(name)

    account.wire.before_request = delete_before_the_first_batch
    await account.sync()

    await account.assert_equal()
    assert await account.count("quarantine") == 0
    assert (await account.cursor())["resume_token"] is None


async def test_f30_a_new_message_that_is_gone_already_is_skipped_too(
    account: GmailAccount,
) -> None:
    await synced(account, 5)
    new = account.mailbox.deliver_generated()
    account.wire.before_request = lambda _, path: (
        account.mailbox.delete(new)
        if path.startswith("/batch") and new in account.mailbox.messages
        else None
    )

    await account.sync()
    await account.sync()

    await account.assert_equal()


async def test_f31_a_page_without_history_is_not_the_end(account: GmailAccount) -> None:
    names = await synced(account, 20)
    account.emulator.behaviour.blank_history_pages = True
    for _ in range(600):
        account.mailbox.deliver_generated()
    account.mailbox.delete(names[0])

    await account.sync()

    await account.assert_equal()
    assert account.usage.calls["history.list"] == 4


LIMITS: list[tuple[Reply, type[SyncError]]] = [
    (errors.user_rate_limit_exceeded(), Throttled),
    (errors.rate_limit_exceeded(), ProjectThrottled),
    (errors.daily_limit_exceeded(), ProjectThrottled),
    (errors.quota_metric_exceeded("Queries per minute per user"), Throttled),
    (errors.quota_metric_exceeded("Queries per minute"), ProjectThrottled),
    (errors.too_many_concurrent_requests(), Throttled),
    (errors.insufficient_scope(), AuthRefused),
    (errors.domain_policy(), AuthRefused),
    (errors.delegation_denied("x@example.com"), AuthRefused),
    (errors.mail_service_not_enabled(), AuthRefused),
    (errors.error(403, "accessNotConfigured", "Gmail API has not been used"), OperatorMustAct),
    (errors.error(403, "forbidden", "Forbidden"), ServerRefused),
    (errors.backend_error(), Unreachable),
    (errors.unavailable(), Unreachable),
]


@pytest.mark.parametrize("where", ["GET /gmail/v1/users/me/history", "POST /batch", "messages/"])
@pytest.mark.parametrize(("reply", "expected"), LIMITS)
async def test_f32_the_reason_decides_what_a_refusal_means(
    account: GmailAccount, reply: Reply, expected: type[SyncError], where: str
) -> None:
    """Of a request, of a batch, and of every call in a batch alike."""
    await synced(account, 3)
    for _ in range(7):
        account.mailbox.deliver_generated()
    account.emulator.faults.add(errors.as_fault(reply, on=where))

    with pytest.raises(expected) as raised:
        await account.sync()

    assert type(raised.value) in {expected, *Throttled.__subclasses__()}
    assert await account.count("quarantine") == 0
    assert await account.count("messages") == 3


@pytest.mark.parametrize(
    "reply",
    [
        errors.user_rate_limit_retry_after(
            datetime.now(UTC) + timedelta(days=1)
        ),  # all tests take less
        errors.rate_limit_exceeded(),
        errors.daily_limit_exceeded(),
    ],
)
async def test_f32_nothing_is_asked_before_the_time_that_gmail_names(
    account: GmailAccount, reply: Reply
) -> None:
    await synced(account, 3)
    account.emulator.faults.add(errors.as_fault(reply, on=HISTORY, calls=[1]))
    with pytest.raises(Throttled):
        await account.sync()
    account.usage.reset()

    with pytest.raises(QuotaSpent) as spent:
        await account.sync()

    assert spent.value.frees_in > timedelta(seconds=30)
    assert account.usage.requests.total() == 0


async def test_f33_calls_of_a_batch_that_are_not_let_in_are_repeated_in_smaller_batches(
    account: GmailAccount,
) -> None:
    account.emulator.behaviour.concurrent_calls = 12
    fill(account.mailbox, 130)

    await account.sync()

    await account.assert_equal()
    assert account.usage.calls["messages.get"] == 130
    assert await account.count("quarantine") == 0
    # A wall of 12 is found within a few batches, and hardly met from then on.
    assert account.usage.throttled < 100


async def test_f33_a_throttled_call_of_a_batch_keeps_what_the_others_brought(
    account: GmailAccount,
) -> None:
    await synced(account, 3)
    new = [account.mailbox.deliver_generated() for _ in range(40)]
    fault = errors.as_fault(errors.user_rate_limit_exceeded(), on=f"messages/{new[20]}", calls=[1])
    account.emulator.faults.add(fault)

    with pytest.raises(Throttled):
        await account.sync()

    assert set(new) - await message_names(account) == {new[20]}


async def test_a_call_of_a_batch_that_fails_now_and_then_is_repeated_alone(
    account: GmailAccount,
) -> None:
    names = await synced(account, 3)
    names = [account.mailbox.deliver_generated() for _ in range(40)]
    for name in names[::5]:
        fault = errors.as_fault(errors.backend_error(), on=f"messages/{name}", calls=[1, 2])
        account.emulator.faults.add(fault)

    await account.sync()

    await account.assert_equal()
    assert account.usage.calls["messages.get"] == 40


async def test_a_message_that_fails_for_ever_is_put_aside_alone(account: GmailAccount) -> None:
    await synced(account, 3)
    new = [account.mailbox.deliver_generated() for _ in range(40)]
    account.emulator.faults.add(errors.as_fault(errors.backend_error(), on=f"messages/{new[7]}"))

    await account.sync()
    account.usage.reset()
    await account.sync()

    assert set(new) - await message_names(account) == {new[7]}
    rows = await account.connection.fetch("SELECT remote_id, reason FROM quarantine")
    assert [row["remote_id"] for row in rows] == [new[7]]
    assert account.usage.requests.total() == 2


async def test_a_message_whose_bytes_are_damaged_is_put_aside_alone(account: GmailAccount) -> None:
    fill(account.mailbox, 60)
    names = [name for _, name in account.mailbox.newest_first()]
    for name, body in (
        (names[3], '{"id": "%s", "raw": "**damaged**"}'),
        (names[5], '{"id": "%s"}'),
        (names[7], "<html>%s"),
    ):
        account.emulator.faults.add(Fault(on=f"messages/{name}", status=200, body=body % name))

    await account.sync()

    assert len(await message_names(account)) == 57
    assert await account.count("quarantine") == 3


async def test_a_message_that_was_put_aside_is_asked_for_again_after_a_day(
    account: GmailAccount,
) -> None:
    await synced(account, 3)
    new = [account.mailbox.deliver_generated() for _ in range(5)]
    for name in new[:2]:
        account.emulator.faults.add(errors.as_fault(errors.backend_error(), on=f"messages/{name}"))
    await account.sync()
    account.emulator.faults.clear()
    account.mailbox.delete(new[1])
    await account.connection.execute(
        "UPDATE quarantine SET last_seen_at = last_seen_at - interval '2 days'"
    )

    await account.sync()

    await account.assert_equal()
    assert await account.count("quarantine") == 0


async def test_when_no_message_is_given_it_is_not_the_messages_fault(
    account: GmailAccount,
) -> None:
    fill(account.mailbox, 60)
    account.emulator.faults.add(errors.as_fault(errors.backend_error(), on="GET .*/messages/"))

    with pytest.raises(Retryable):
        await account.sync()

    assert await account.count("quarantine") == 0
    account.emulator.faults.clear()
    await account.sync()
    await account.assert_equal()


async def test_a_token_that_only_batches_refuse_is_renewed_by_a_plain_request(
    account: GmailAccount,
) -> None:
    await synced(account, 3)
    new = [account.mailbox.deliver_generated() for _ in range(10)]
    for name in new[:4]:
        fault = errors.as_fault(errors.invalid_credentials(), on=f"messages/{name}", calls=[1])
        account.emulator.faults.add(fault)

    await account.sync()

    await account.assert_equal()
    assert account.usage.calls["getProfile"] == 1


@pytest.mark.parametrize("failure", [Failure.HTML, Failure.TRUNCATED, Failure.CUT])
@pytest.mark.parametrize("where", ["/labels", "/history", "/batch", "/messages[?]", "/profile"])
async def test_an_answer_that_is_none_changes_nothing_and_is_tried_again(
    account: GmailAccount, where: str, failure: Failure
) -> None:
    names = await synced(account, 60)
    account.mailbox.star(names[0])
    account.mailbox.expire_history()
    account.mailbox.deliver_generated()
    before = await message_names(account)
    account.emulator.faults.add(Fault(on=where, failure=failure))

    with pytest.raises(Retryable):
        await account.sync()

    assert before <= await message_names(account)
    account.emulator.faults.clear()
    await account.sync()
    await account.assert_equal()


@pytest.mark.parametrize("seed", range(6))
async def test_faults_everywhere_lose_nothing_and_double_nothing(
    account: GmailAccount, seed: int
) -> None:
    chance = random.Random(seed)
    fill(account.mailbox, 150)
    probability = (0.02, 0.1, 0.3)[seed % 3]
    for failure in (Failure.CUT, Failure.TRUNCATED, Failure.HTML, Failure.ANSWER):
        account.emulator.faults.add(Fault(probability=probability / 4, failure=failure))

    for _ in range(4):
        await _synced_in_spite_of(account)
        names = list(account.mailbox.messages)
        for name in chance.sample(names, 20):
            chance.choice([account.mailbox.star, account.mailbox.archive, account.mailbox.delete])(
                name
            )
        for _ in range(10):
            account.mailbox.deliver_generated()
        if chance.random() < 0.5:
            account.mailbox.expire_history()
    account.emulator.faults.clear()
    await account.connection.execute(
        "UPDATE quarantine SET last_seen_at = last_seen_at - interval '2 days'"
    )
    await account.sync()

    await account.assert_equal()
    assert await account.count("quarantine") == 0


async def _synced_in_spite_of(account: GmailAccount) -> None:
    with anyio.fail_after(60):
        while True:
            try:
                await account.sync()
            except Retryable:
                continue
            return


async def test_a_message_in_the_place_of_another_does_not_hide_that_one_is_missing(
    account: GmailAccount,
) -> None:
    fill(account.mailbox, 2)
    one, other = (name for _, name in account.mailbox.newest_first())
    answer = f'{{"id": "{other}", "raw": "SGk", "labelIds": ["INBOX"]}}'
    parts = "".join(
        f"--b\r\nContent-ID: <response-{number}>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{answer}\r\n"
        for number in (0, 0, 7)
    )
    account.emulator.faults.add(
        Fault(
            on=BATCH,
            status=200,
            headers={"content-type": 'multipart/mixed; boundary="b"'},
            body=f"{parts}--b--",
            calls=[1],
        )
    )

    await account.sync()

    assert await message_names(account) == {one, other}
    await account.assert_equal()
