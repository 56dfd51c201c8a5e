"""Messages that Graph will not give, or that are too large: they hold up no other."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from emailsync.config import StoreSettings
from emailsync.domain.errors import SyncError, Throttled, Unreachable
from emailsync.emulators.faults import Failure, Fault
from graph_account import OWNER, GraphAccount, graph_account

NOT_CONVERTED = Fault(
    status=400,
    headers={"content-type": "application/json"},
    body='{"error":{"code":"ErrorMimeContentConversionFailed","message":"no"}}',
)


@pytest.fixture
async def account(database_url: str, tmp_path: Path) -> AsyncIterator[GraphAccount]:
    """An account that keeps bytes, synced."""
    async with graph_account(database_url, tmp_path / "keys", messages=10) as account:
        await account.sync()
        account.usage.reset()
        yield account


@pytest.fixture
async def lean(database_url: str, tmp_path: Path) -> AsyncIterator[GraphAccount]:
    """An account that keeps no bytes, synced."""
    store = StoreSettings(raw=False)
    async with graph_account(database_url, tmp_path / "keys", messages=10, store=store) as account:
        await account.sync()
        account.usage.reset()
        yield account


def fault_for(message_id: str, what: str, fault: Fault) -> Fault:
    return Fault(
        on=f"messages/{message_id}{what}",
        status=fault.status,
        headers=fault.headers,
        body=fault.body,
        calls=fault.calls,
        failure=fault.failure,
    )


async def test_a_message_whose_bytes_cannot_be_made_is_stored_by_what_else_there_is(
    account: GraphAccount,
) -> None:
    made = account.emulator.ledger.deliver_generated(OWNER, count=3)
    account.emulator.faults.add(fault_for(made[1].id, r"/\$value", NOT_CONVERTED))

    await account.sync()

    rows = await account.connection.fetch(
        "SELECT raw IS NULL AS bare, subject, parse_error, body_html FROM messages"
        " WHERE remote_id = $1",
        made[1].id,
    )
    assert [(row["bare"], row["subject"]) for row in rows] == [(True, made[1].content.subject)]
    assert "ErrorMimeContentConversionFailed" in rows[0]["parse_error"]
    assert rows[0]["body_html"]
    assert await account.count("messages WHERE raw IS NOT NULL") == 12


async def test_a_message_that_breaks_the_server_is_put_aside_and_asked_for_again_a_day_later(
    account: GraphAccount,
) -> None:
    made = account.emulator.ledger.deliver_generated(OWNER, count=3)
    account.emulator.faults.add(fault_for(made[1].id, r"/\$value", Fault(status=500)))
    await account.sync()
    quarantined = await account.count("quarantine WHERE stage = 'fetch'")
    unexplained = await account.unexplained_counts()
    await account.sync()
    attempts = await account.count("quarantine WHERE attempts > 1")
    await account.connection.execute(
        "UPDATE quarantine SET last_seen_at = now() - interval '25 hours'"
    )
    account.emulator.faults.clear()

    await account.sync()

    assert (quarantined, unexplained, attempts) == (1, [], 0)
    await account.assert_equal()


async def test_what_is_broken_for_days_is_stored_without_its_bytes(account: GraphAccount) -> None:
    made = account.emulator.ledger.deliver_generated(OWNER)
    account.emulator.faults.add(fault_for(made[0].id, r"/\$value", Fault(status=500)))
    await account.sync()
    await account.connection.execute(
        "UPDATE quarantine SET last_seen_at = now() - interval '25 hours'"
    )

    await account.sync()

    row = await account.connection.fetchrow(
        "SELECT raw, subject FROM messages WHERE remote_id = $1", made[0].id
    )
    assert row is not None
    assert (row["raw"], row["subject"]) == (None, made[0].content.subject)
    assert await account.unexplained_counts() == []


async def test_a_quarantined_message_that_was_deleted_is_forgotten(account: GraphAccount) -> None:
    made = account.emulator.ledger.deliver_generated(OWNER)
    account.emulator.faults.add(fault_for(made[0].id, r"/\$value", Fault(status=500)))
    await account.sync()
    account.mailbox.delete(made[0].id)

    await account.sync()

    assert await account.unexplained_counts() == []
    assert await account.stored() is not None


async def test_a_server_that_gives_nothing_quarantines_nothing(account: GraphAccount) -> None:
    account.emulator.ledger.deliver_generated(OWNER, count=12)
    account.emulator.faults.add(Fault(on=r"/\$value", status=500))

    with pytest.raises(Unreachable):
        await account.sync()

    assert await account.count("quarantine") == 0
    account.emulator.faults.clear()
    await account.sync()
    await account.assert_equal()


async def test_one_message_and_a_mailbox_that_answers_nothing_quarantine_nothing(
    account: GraphAccount,
) -> None:
    """New mail, then an outage: the message alone says nothing, so the inbox is asked as well."""
    account.emulator.ledger.deliver_generated(OWNER)
    account.emulator.faults.add(Fault(on=r"/\$value|mailFolders/inbox", status=503))

    with pytest.raises(Unreachable):
        await account.sync()

    assert await account.count("quarantine") == 0


async def test_a_failure_that_passes_is_not_seen(account: GraphAccount) -> None:
    account.emulator.ledger.deliver_generated(OWNER, count=5)
    account.emulator.faults.add(Fault(on=r"/\$value", status=500, calls=[2]))

    await account.sync()

    await account.assert_equal()


async def test_a_message_that_is_gone_before_it_is_fetched_is_left_out(
    account: GraphAccount,
) -> None:
    made = account.emulator.ledger.deliver_generated(OWNER, count=3)
    gone = Fault(
        status=404,
        headers={"content-type": "application/json"},
        body=('{"error":{"code":"ErrorItemNotFound","message":"gone"}}'),
    )
    account.emulator.faults.add(fault_for(made[1].id, r"/\$value", gone))
    account.mailbox.delete(made[1].id)

    await account.sync()

    await account.assert_equal()
    assert await account.count("quarantine") == 0


async def test_attachments_that_cannot_be_listed_put_their_message_aside_for_a_day(
    lean: GraphAccount,
) -> None:
    raw = (
        b"Subject: With a file\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nSee there\r\n"
        b'--b\r\nContent-Type: application/pdf; name="a.pdf"\r\n'
        b'Content-Disposition: attachment; filename="a.pdf"\r\n\r\nPDF\r\n--b--\r\n'
    )
    made = lean.mailbox.deliver(raw)
    lean.emulator.faults.add(fault_for(made.id, "/attachments", Fault(status=500)))
    await lean.sync()
    assert await lean.count("quarantine") == 1
    await lean.connection.execute(
        "UPDATE quarantine SET last_seen_at = now() - interval '25 hours'"
    )

    await lean.sync()

    row = await lean.connection.fetchrow(
        "SELECT subject, parse_error FROM messages WHERE remote_id = $1", made.id
    )
    assert row is not None
    assert row["subject"] == "With a file"
    assert "attachments" in row["parse_error"]


async def test_a_message_over_the_limit_is_stored_without_its_bytes(
    database_url: str, tmp_path: Path
) -> None:
    store = StoreSettings(max_message_bytes=65_536)
    async with graph_account(database_url, tmp_path / "keys", messages=5, store=store) as account:
        large = account.mailbox.deliver(b"Subject: Large\r\n\r\n" + b"x" * 60 + b"\r\n" * 40_000)
        small = account.mailbox.deliver(b"Subject: Small\r\n\r\nHello\r\n")

        await account.sync()

        rows = await account.connection.fetch(
            "SELECT remote_id, subject, raw IS NULL AS bare, is_truncated FROM messages"
        )
        found = {row["remote_id"]: tuple(row)[1:] for row in rows}
        assert found[large.id] == ("Large", True, True)
        assert found[small.id] == ("Small", False, False)


async def test_a_message_over_two_megabytes_is_fetched_alone_and_whole(
    account: GraphAccount,
) -> None:
    made = account.mailbox.deliver(b"Subject: Large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 40_000)

    await account.sync()

    size = await account.connection.fetchval(
        "SELECT length(raw) FROM messages WHERE remote_id = $1", made.id
    )
    assert size == len(made.content.raw) > 2_000_000
    await account.assert_equal()


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
async def test_a_throttled_part_of_a_batch_ends_the_sync_for_as_long_as_was_asked(
    lean: GraphAccount, *, as_date: bool
) -> None:
    lean.emulator.limits.retry_after_as_date = as_date
    lean.emulator.limits.retry_after_s = 20
    lean.emulator.limits.mailbox_requests = 6
    lean.emulator.ledger.deliver_generated(OWNER, count=3)

    with pytest.raises(Throttled) as throttled:
        await lean.sync()

    assert throttled.value.retry_after is not None
    assert timedelta(seconds=18) < throttled.value.retry_after <= timedelta(seconds=21)
    assert await lean.count("messages") == 13, "the inbox was answered before"


@pytest.mark.parametrize("failure", [Failure.CUT, Failure.TRUNCATED, Failure.HTML])
async def test_an_answer_that_is_none_loses_nothing(
    account: GraphAccount, failure: Failure
) -> None:
    account.emulator.ledger.deliver_generated(OWNER, count=5)
    for on in ("mailFolders/delta", r"\$batch", r"messages/delta\?\$skip"):
        account.emulator.faults.clear()
        account.emulator.faults.add(Fault(on=on, failure=failure, calls=[1]))
        with suppress(SyncError):
            await account.sync()

    account.emulator.faults.clear()
    await account.sync()
    await account.assert_equal()


async def test_a_message_of_which_graph_leaves_a_property_out_is_stored_all_the_same(
    lean: GraphAccount,
) -> None:
    """A page told of it in part, and so does the answer for it alone."""
    made = lean.emulator.ledger.deliver_generated(OWNER)[0]
    inbox, (link, _) = lean.mailbox.folder("inbox").id, (await lean.links())["Inbox"]
    page = {"value": [{"id": made.id, "isRead": True}], "@odata.deltaLink": link}
    half = {"id": made.id, "subject": "half", "parentFolderId": inbox}
    for on, body in ((rf"{inbox}/messages/delta\?", page), (rf"messages/{made.id}\?", half)):
        lean.emulator.faults.add(Fault(on=on, status=200, body=orjson.dumps(body).decode()))

    await lean.sync()

    subject = await lean.connection.fetchval(
        "SELECT subject FROM messages WHERE remote_id = $1", made.id
    )
    assert subject == "half"


async def test_half_a_surrogate_pair_in_a_batch_stops_nobody(lean: GraphAccount) -> None:
    """Whoever sends a mail chooses its subject; the parts of a batch are foreign words as well."""
    made = lean.emulator.ledger.deliver_generated(OWNER)[0]
    link, _ = (await lean.links())["Inbox"]
    page = {"value": [{"id": made.id, "subject": "\ud83d"}], "@odata.deltaLink": link}
    parts = [
        {"id": "0", "status": 200, "body": page},
        {"id": "9" * 5_000, "status": 200, "body": {}},
        {"id": None, "status": 2**70, "body": "\ud83d"},
    ]
    body = json.dumps({"responses": parts})
    lean.emulator.faults.add(Fault(on=r"\$batch", status=200, body=body, calls=[1]))

    await lean.sync()

    await lean.assert_equal()


async def test_a_quarantined_message_that_is_answered_under_another_id_keeps_its_own(
    account: GraphAccount,
) -> None:
    made = account.emulator.ledger.deliver_generated(OWNER)[0]
    account.emulator.faults.add(fault_for(made.id, r"/\$value", Fault(status=500)))
    await account.sync()
    await account.connection.execute(
        "UPDATE quarantine SET last_seen_at = now() - interval '25 hours'"
    )
    answer = {"id": None, "parentFolderId": account.mailbox.folder("inbox").id}
    account.emulator.faults.clear()
    account.emulator.faults.add(
        fault_for(made.id, r"\?", Fault(status=200, body=json.dumps(answer), calls=[1]))
    )

    await account.sync()

    await account.assert_equal()
