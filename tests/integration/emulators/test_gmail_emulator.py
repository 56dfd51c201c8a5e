"""What the Gmail API documents of reading a mailbox, asked of the emulator on a real socket."""

from datetime import UTC, datetime
from email import message_from_bytes

import pytest

from emailsync.emulators.gmail.ledger import INBOX, SENT, SPAM, STARRED, TRASH, UNREAD
from emailsync.emulators.gmail.life import fill
from gmail_wire import OWNER, SEED, GmailOnTheWire, decoded

AT = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
RAW = b"From: a@example.com\r\nSubject: Hello?>~\r\nMessage-ID: <1@x>\r\n\r\nHello \xff\xfe\r\n"
WITH_FILE = (
    b"Subject: Report\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nSee file.\r\n"
    b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
    b'Content-Disposition: attachment; filename="r.pdf"\r\n\r\nJVBERi0=\r\n--b--\r\n'
)


async def test_the_profile_has_totals_and_the_current_history_id(gmail: GmailOnTheWire) -> None:
    gmail.mailbox.deliver(RAW)
    gmail.mailbox.deliver(b"In-Reply-To: <1@x>\r\n\r\n")

    profile = await gmail.read("/profile")

    assert profile == {
        "emailAddress": OWNER,
        "messagesTotal": 2,
        "threadsTotal": 1,
        "historyId": str(gmail.mailbox.history.current_id),
    }


async def test_labels_are_listed_without_counts(gmail: GmailOnTheWire) -> None:
    label = gmail.mailbox.create_label("Work/Ünits")

    labels = {item["id"]: item for item in (await gmail.read("/labels"))["labels"]}

    assert labels["INBOX"] == {"id": "INBOX", "name": "INBOX", "type": "system"}
    assert (labels[label]["name"], labels[label]["type"]) == ("Work/Ünits", "user")
    assert "messagesTotal" not in labels[label]


async def test_a_label_alone_has_its_counts(gmail: GmailOnTheWire) -> None:
    gmail.mailbox.deliver(RAW, [INBOX, UNREAD])
    gmail.mailbox.deliver(b"References: <0@x> <1@x>\r\n\r\n", [INBOX])

    label = await gmail.read("/labels/INBOX")

    counts = [
        label[f"{what}{of}"] for what in ("messages", "threads") for of in ("Total", "Unread")
    ]
    assert counts == [2, 1, 1, 1]
    assert (await gmail.get("/labels/Label_99")).status_code == 404


async def test_messages_are_listed_newest_first_with_ids_only(gmail: GmailOnTheWire) -> None:
    old = gmail.mailbox.deliver(RAW, internal_date=AT)
    new = gmail.mailbox.deliver(RAW)

    listing = await gmail.read("/messages")

    assert listing["messages"] == [{"id": new, "threadId": old}, {"id": old, "threadId": old}]
    assert "nextPageToken" not in listing


async def test_an_empty_listing_has_no_messages_key(gmail: GmailOnTheWire) -> None:
    listing = await gmail.read("/messages")

    assert listing == {"resultSizeEstimate": 0}


async def test_a_listing_has_100_messages_a_page_unless_asked_for_up_to_500(
    gmail: GmailOnTheWire,
) -> None:
    fill(gmail.mailbox, 600)

    default = await gmail.read("/messages", includeSpamTrash="true")
    most = await gmail.read("/messages", includeSpamTrash="true", maxResults=1000)
    rest = await gmail.read(
        "/messages", includeSpamTrash="true", maxResults=500, pageToken=most["nextPageToken"]
    )

    assert [len(page["messages"]) for page in (default, most, rest)] == [100, 500, 100]
    assert "nextPageToken" not in rest
    listed = [message["id"] for page in (most, rest) for message in page["messages"]]
    assert listed == sorted(gmail.mailbox.messages, reverse=True)


async def test_a_listing_goes_on_where_it_was_when_the_message_it_stopped_at_is_gone(
    gmail: GmailOnTheWire,
) -> None:
    first, second, third = [gmail.mailbox.deliver(RAW, internal_date=AT) for _ in range(3)]
    page = await gmail.read("/messages", maxResults=1)
    gmail.mailbox.delete(third)

    rest = await gmail.read("/messages", pageToken=page["nextPageToken"])

    assert [message["id"] for message in rest["messages"]] == [second, first]


async def test_several_label_ids_must_all_be_there(gmail: GmailOnTheWire) -> None:
    both = gmail.mailbox.deliver(RAW, [INBOX, STARRED])
    gmail.mailbox.deliver(RAW, [INBOX])

    listing = await gmail.read("/messages", labelIds=[INBOX, STARRED])

    assert [message["id"] for message in listing["messages"]] == [both]


async def test_spam_and_trash_are_listed_when_asked_for(gmail: GmailOnTheWire) -> None:
    for label in (INBOX, SPAM, TRASH):
        gmail.mailbox.deliver(RAW, [label])

    counts = [
        len((await gmail.read("/messages", **parameters))["messages"])
        for parameters in ({}, {"includeSpamTrash": "true"}, {"labelIds": TRASH})
    ]

    assert counts == [1, 3, 1]


async def test_a_listing_can_be_of_large_messages_only(gmail: GmailOnTheWire) -> None:
    gmail.mailbox.deliver(RAW)
    large = gmail.mailbox.deliver(RAW + bytes(1024 * 1024))

    listing = await gmail.read("/messages", q="larger:1M")

    assert [message["id"] for message in listing["messages"]] == [large]


@pytest.mark.parametrize(
    "parameters",
    [
        {"q": "from:me"},
        {"labelIds": "Label_9"},
        {"maxResults": "0"},
        {"maxResults": "many"},
        {"pageToken": "x"},
    ],
)
async def test_a_listing_with_a_wrong_parameter_is_refused(
    gmail: GmailOnTheWire, parameters: dict[str, str]
) -> None:
    answer = await gmail.get("/messages", **parameters)

    assert answer.status_code == 400
    assert answer.json()["error"]["errors"][0]["reason"] == "invalidArgument"


async def test_raw_is_the_message_byte_for_byte_as_base64url_without_padding(
    gmail: GmailOnTheWire,
) -> None:
    message = gmail.mailbox.deliver(RAW)

    raw = (await gmail.read(f"/messages/{message}", format="raw"))["raw"]

    assert decoded(raw) == RAW
    assert not set(raw) & set("+/=")


async def test_base64_may_be_padded(gmail: GmailOnTheWire) -> None:
    gmail.emulator.behaviour.base64_padding = True
    message = gmail.mailbox.deliver(b"\r\n\r\n")

    raw = (await gmail.read(f"/messages/{message}", format="raw"))["raw"]

    assert raw == "DQoNCg=="


async def test_minimal_has_labels_and_ids_as_strings(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(RAW, [INBOX, UNREAD], internal_date=AT)

    minimal = await gmail.read(f"/messages/{message}", format="minimal")

    assert minimal == {
        "id": message,
        "threadId": message,
        "labelIds": [INBOX, UNREAD],
        "snippet": "Hello?&gt;~",
        "historyId": str(gmail.mailbox.history.current_id),
        "internalDate": str(round(AT.timestamp() * 1000)),
        "sizeEstimate": len(RAW),
    }


async def test_a_message_without_labels_has_no_label_ids_key(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(RAW, [])

    minimal = await gmail.read(f"/messages/{message}", format="minimal")

    assert "labelIds" not in minimal


async def test_metadata_has_the_headers_that_are_asked_for(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(RAW)

    everything = await gmail.read(f"/messages/{message}", format="metadata")
    some = await gmail.read(f"/messages/{message}", format="metadata", metadataHeaders=["subject"])

    names = [header["name"] for header in everything["payload"]["headers"]]
    assert names == ["From", "Subject", "Message-ID"]
    assert some["payload"]["headers"] == [{"name": "Subject", "value": "Hello?>~"}]
    assert "raw" not in everything


async def test_full_is_the_default_and_a_tree_of_parts(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(WITH_FILE)

    payload = (await gmail.read(f"/messages/{message}"))["payload"]

    text, file = payload["parts"]
    assert (payload["mimeType"], payload["partId"]) == ("multipart/mixed", "")
    assert decoded(text["body"]["data"]) == b"See file."
    assert (file["partId"], file["filename"], file["body"]["size"]) == ("1", "r.pdf", 5)
    assert "data" not in file["body"]


async def test_an_attachment_is_fetched_by_an_id_that_is_another_each_time(
    gmail: GmailOnTheWire,
) -> None:
    message = gmail.mailbox.deliver(WITH_FILE)
    payloads = [(await gmail.read(f"/messages/{message}"))["payload"] for _ in range(2)]
    first, second = [payload["parts"][1]["body"]["attachmentId"] for payload in payloads]

    attachment = await gmail.read(f"/messages/{message}/attachments/{first}")

    assert attachment["size"] == 5
    assert decoded(attachment["data"]) == b"%PDF-"
    assert first != second


async def test_a_message_that_is_gone_is_404(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(RAW)
    gmail.mailbox.delete(message)

    answer = await gmail.get(f"/messages/{message}", format="raw")

    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "code": 404,
        "message": "Requested entity was not found.",
        "errors": [
            {
                "message": "Requested entity was not found.",
                "domain": "global",
                "reason": "notFound",
            }
        ],
        "status": "NOT_FOUND",
    }


async def test_fields_selects_parts_of_an_answer(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(RAW)

    listing = await gmail.read("/messages", fields="messages(id),nextPageToken")
    nested = await gmail.read(f"/messages/{message}", fields="id,payload/headers/name")
    bad = await gmail.get("/messages", fields="messages(id")

    assert listing == {"messages": [{"id": message}]}
    assert nested["payload"]["headers"][0] == {"name": "From"}
    assert bad.status_code == 400


async def test_threads_follow_references_also_to_messages_that_were_never_seen(
    gmail: GmailOnTheWire,
) -> None:
    first = gmail.mailbox.deliver(b"Message-ID: <b@x>\r\nReferences: <a@x>\r\n\r\n")
    sibling = gmail.mailbox.deliver(b"Message-ID: <c@x>\r\nIn-Reply-To:\r\n <a@x>\r\n\r\n")
    other = gmail.mailbox.deliver(b"Message-ID: <d@x>\r\n\r\nReferences: <a@x>\r\n")

    threads = {item["id"]: item["threadId"] for item in (await gmail.read("/messages"))["messages"]}

    assert threads == {first: first, sibling: first, other: other}


async def test_generated_mail_is_the_same_each_time_and_threaded(gmail: GmailOnTheWire) -> None:
    fill(gmail.mailbox, 40)
    listed = (await gmail.read("/messages", includeSpamTrash="true"))["messages"]

    reply = next(item for item in listed if item["id"] != item["threadId"])
    raws = [
        decoded((await gmail.read(f"/messages/{item}", format="raw"))["raw"])
        for item in (reply["id"], reply["id"], reply["threadId"])
    ]

    assert raws[0] == raws[1] == gmail.mailbox.messages[reply["id"]].raw
    root = message_from_bytes(raws[2])["Message-ID"]
    assert root in message_from_bytes(raws[0])["References"]


async def test_kept_mail_is_the_same_as_mail_made_when_read(gmail: GmailOnTheWire) -> None:
    kept = gmail.emulator.ledger.add_mailbox(OWNER, seed=SEED)
    fill(gmail.mailbox, 20)
    fill(kept, 20, keep=True)

    raws = [[message.raw for message in box.messages.values()] for box in (gmail.mailbox, kept)]

    assert raws[0] == raws[1]
    assert SENT in kept.labels


async def test_an_answer_is_compressed_when_asked_for(gmail: GmailOnTheWire) -> None:
    plain = await gmail.client.get(
        "/gmail/v1/users/me/labels", headers={"Accept-Encoding": "identity"}
    )
    compressed = await gmail.get("/labels")
    gmail.emulator.behaviour.gzip = False
    switched_off = await gmail.get("/labels")

    encodings = [
        answer.headers.get("content-encoding") for answer in (plain, compressed, switched_off)
    ]
    assert encodings == [None, "gzip", None]
    assert plain.json() == compressed.json()


async def test_the_user_is_named_by_address_too(gmail: GmailOnTheWire) -> None:
    own = await gmail.client.get(f"/gmail/v1/users/{OWNER}/profile")
    other = await gmail.client.get("/gmail/v1/users/else%40example.com/profile")

    assert own.json()["emailAddress"] == OWNER
    assert other.status_code == 403
    assert other.json()["error"]["message"] == "Delegation denied for else@example.com"
