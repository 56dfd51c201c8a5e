"""What the Gmail API documents of history, asked of the emulator on a real socket."""

from itertools import pairwise

import pytest

from emailsync.emulators.gmail.ledger import DRAFT, INBOX, SPAM, STARRED, TRASH, UNREAD
from gmail_wire import GmailOnTheWire

RAW = b"Message-ID: <1@x>\r\n\r\n"


def now(gmail: GmailOnTheWire) -> int:
    return gmail.mailbox.history.current_id


async def test_nothing_new_is_an_answer_without_history(gmail: GmailOnTheWire) -> None:
    gmail.mailbox.deliver(RAW)

    history = await gmail.read("/history", startHistoryId=now(gmail))

    assert history == {"historyId": str(now(gmail))}


async def test_a_new_message_has_its_thread_and_labels(gmail: GmailOnTheWire) -> None:
    start = now(gmail)
    message = gmail.mailbox.deliver(RAW, [INBOX, UNREAD])

    (record,) = (await gmail.read("/history", startHistoryId=start))["history"]

    assert record == {
        "id": str(now(gmail)),
        "messages": [{"id": message, "threadId": message}],
        "messagesAdded": [
            {"message": {"id": message, "threadId": message, "labelIds": [INBOX, UNREAD]}}
        ],
    }


async def test_ids_grow_with_gaps_and_get_more_digits(gmail: GmailOnTheWire) -> None:
    start = now(gmail)
    for _ in range(30):
        gmail.mailbox.deliver(RAW)

    records = (await gmail.read("/history", startHistoryId=start))["history"]

    ids = [int(record["id"]) for record in records]
    gaps = {later - earlier for earlier, later in pairwise([start, *ids])}
    assert min(gaps) >= 1
    assert len(gaps) > 1
    assert len({len(record["id"]) for record in records}) == 2


async def test_label_changes_come_as_deltas(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(RAW, [INBOX, UNREAD])
    start = now(gmail)
    gmail.mailbox.mark_read(message)
    gmail.mailbox.star(message)

    read, starred = (await gmail.read("/history", startHistoryId=start))["history"]

    assert read["labelsRemoved"][0]["labelIds"] == [UNREAD]
    assert read["labelsRemoved"][0]["message"]["labelIds"] == [INBOX]
    assert starred["labelsAdded"][0]["labelIds"] == [STARRED]
    assert "messagesAdded" not in starred


async def test_what_changes_no_label_leaves_no_record(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(RAW, [INBOX])
    start = now(gmail)

    gmail.mailbox.mark_read(message)

    assert "history" not in await gmail.read("/history", startHistoryId=start)


@pytest.mark.parametrize(("operation", "label"), [("trash", TRASH), ("mark_spam", SPAM)])
async def test_trash_and_spam_are_labels_that_are_added(
    gmail: GmailOnTheWire, operation: str, label: str
) -> None:
    message = gmail.mailbox.deliver(RAW, [INBOX])
    start = now(gmail)
    getattr(gmail.mailbox, operation)(message)

    (record,) = (await gmail.read("/history", startHistoryId=start))["history"]

    assert record["labelsAdded"][0]["labelIds"] == [label]
    assert record["labelsRemoved"][0]["labelIds"] == [INBOX]
    assert "messagesDeleted" not in record


async def test_only_deleting_for_ever_is_a_deletion(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(RAW, [INBOX])
    start = now(gmail)
    gmail.mailbox.delete(message)

    (record,) = (await gmail.read("/history", startHistoryId=start))["history"]

    assert record["messagesDeleted"][0]["message"]["id"] == message


async def test_a_draft_that_is_saved_again_is_another_message(gmail: GmailOnTheWire) -> None:
    first = gmail.mailbox.save_draft(RAW)
    start = now(gmail)
    second = gmail.mailbox.save_draft(RAW, replaces=first)

    deleted, added = (await gmail.read("/history", startHistoryId=start))["history"]

    assert deleted["messagesDeleted"][0]["message"]["id"] == first
    assert added["messagesAdded"][0]["message"] == {
        "id": second,
        "threadId": first,
        "labelIds": [DRAFT],
    }


async def test_pages_have_100_records_unless_asked_for_up_to_500(gmail: GmailOnTheWire) -> None:
    start = now(gmail)
    for _ in range(510):
        gmail.mailbox.deliver(RAW)

    default = await gmail.read("/history", startHistoryId=start)
    most = await gmail.read("/history", startHistoryId=start, maxResults=999)
    rest = await gmail.read("/history", startHistoryId=start, pageToken=most["nextPageToken"])

    assert [len(page["history"]) for page in (default, most, rest)] == [100, 500, 10]
    assert "nextPageToken" not in rest
    assert rest["historyId"] == str(now(gmail))


async def test_records_that_come_while_paging_are_on_the_last_page(gmail: GmailOnTheWire) -> None:
    start = now(gmail)
    gmail.mailbox.deliver(RAW)
    gmail.mailbox.deliver(RAW)
    page = await gmail.read("/history", startHistoryId=start, maxResults=1)
    late = gmail.mailbox.deliver(RAW)

    rest = await gmail.read("/history", startHistoryId=start, pageToken=page["nextPageToken"])

    assert rest["history"][-1]["messages"][0]["id"] == late
    assert rest["historyId"] == str(now(gmail))


async def test_a_page_may_have_a_token_and_no_history(gmail: GmailOnTheWire) -> None:
    gmail.emulator.behaviour.blank_history_pages = True
    start = now(gmail)
    message = gmail.mailbox.deliver(RAW)

    blank = await gmail.read("/history", startHistoryId=start)
    page = await gmail.read("/history", startHistoryId=start, pageToken=blank["nextPageToken"])

    assert "history" not in blank
    assert page["history"][0]["messages"][0]["id"] == message
    assert "nextPageToken" not in page


async def test_history_types_select_records_and_parts_of_them(gmail: GmailOnTheWire) -> None:
    start = now(gmail)
    message = gmail.mailbox.deliver(RAW, [INBOX])
    gmail.mailbox.trash(message)

    (record,) = (await gmail.read("/history", startHistoryId=start, historyTypes="labelAdded"))[
        "history"
    ]

    assert record.keys() == {"id", "messages", "labelsAdded"}


async def test_a_label_id_selects_messages_that_have_or_had_it(gmail: GmailOnTheWire) -> None:
    start = now(gmail)
    archived = gmail.mailbox.deliver(RAW, [INBOX])
    gmail.mailbox.deliver(RAW, [SPAM])
    gmail.mailbox.archive(archived)

    records = (await gmail.read("/history", startHistoryId=start, labelId=INBOX))["history"]

    assert [record["messages"][0]["id"] for record in records] == [archived, archived]


async def test_history_that_is_too_old_is_404(gmail: GmailOnTheWire) -> None:
    start = now(gmail)
    gmail.mailbox.deliver(RAW)
    gmail.mailbox.expire_history()

    expired = await gmail.get("/history", startHistoryId=start)
    current = await gmail.get("/history", startHistoryId=now(gmail))

    assert (expired.status_code, current.status_code) == (404, 200)
    assert expired.json()["error"]["errors"][0]["reason"] == "notFound"


async def test_history_may_expire_between_two_pages(gmail: GmailOnTheWire) -> None:
    start = now(gmail)
    for _ in range(3):
        gmail.mailbox.deliver(RAW)
    page = await gmail.read("/history", startHistoryId=start, maxResults=1)
    gmail.mailbox.expire_history()

    rest = await gmail.get("/history", startHistoryId=start, pageToken=page["nextPageToken"])

    assert rest.status_code == 404


async def test_an_id_that_was_never_given_out_is_404(gmail: GmailOnTheWire) -> None:
    answer = await gmail.get("/history", startHistoryId=now(gmail) + 1)

    assert answer.status_code == 404


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"startHistoryId": "soon"},
        {"startHistoryId": "1", "historyTypes": "everything"},
        {"startHistoryId": "1", "labelId": "Label_9"},
    ],
)
async def test_history_with_a_wrong_parameter_is_refused(
    gmail: GmailOnTheWire, parameters: dict[str, str]
) -> None:
    answer = await gmail.get("/history", **parameters)

    assert answer.status_code == 400


async def test_a_label_is_renamed_without_a_record(gmail: GmailOnTheWire) -> None:
    label = gmail.mailbox.create_label("Old")
    gmail.mailbox.deliver(RAW, [label])
    start = now(gmail)
    gmail.mailbox.rename_label(label, "New")

    labels = (await gmail.read("/labels"))["labels"]

    assert {"Old", "New"} & {item["name"] for item in labels} == {"New"}
    assert "history" not in await gmail.read("/history", startHistoryId=start)


@pytest.mark.parametrize("recorded", [False, True])
async def test_a_label_is_deleted_with_or_without_records(
    gmail: GmailOnTheWire, *, recorded: bool
) -> None:
    label = gmail.mailbox.create_label("Old")
    message = gmail.mailbox.deliver(RAW, [label, INBOX])
    start = now(gmail)
    gmail.mailbox.delete_label(label, recorded=recorded)

    history = (await gmail.read("/history", startHistoryId=start)).get("history", [])

    deltas = [record["labelsRemoved"][0]["labelIds"] for record in history]
    assert deltas == ([[label]] if recorded else [])
    assert (await gmail.read(f"/messages/{message}", format="minimal"))["labelIds"] == [INBOX]
    assert (await gmail.get(f"/labels/{label}")).status_code == 404


async def test_messages_without_a_label_are_not_listed_under_it(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(RAW, [INBOX])
    gmail.mailbox.trash(message)
    gmail.mailbox.untrash(message)

    listing = await gmail.read("/messages", labelIds=INBOX)

    assert "messages" not in listing
