"""The emulated Graph's messages, bodies and attachments, on a real socket."""

import base64
from datetime import UTC, datetime

from emailsync.emulators.mail_generator import FIRST_SENT_AT, MEAN_GAP, generate
from graph_client import ADA, graph_client, mail

HTML_MAIL = (
    b"Message-ID: <html@example.test>\r\nReferences: <first@example.test>\r\n"
    b"From: =?utf-8?B?Wm/DqQ==?= <zoe@example.net>\r\nTo: ada@example.test\r\n"
    b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nX-Priority: 1\r\n"
    b'Content-Type: multipart/mixed; boundary="B"\r\n\r\n'
    b'--B\r\nContent-Type: text/html; charset="utf-8"\r\n\r\n'
    b"<html><body><p>Hi <b>there</b></p><script>evil()</script></body></html>\r\n"
    b'--B\r\nContent-Type: application/pdf; name="a.pdf"\r\n'
    b'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="a.pdf"\r\n'
    b"\r\nUERG\r\n"
    b"--B\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n"
    b'Content-Disposition: inline; filename="i.png"\r\nContent-ID: <pic@x>\r\n\r\nUE5H\r\n'
    b"--B\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner\r\n"
    b"--B--\r\n"
)


async def test_a_message_says_what_its_mail_says() -> None:
    async with graph_client() as client:
        made = client.mailbox.deliver(
            HTML_MAIL, received_at=datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
        )
        message = await client.json(f"/me/messages/{made.id}")
        drafts = client.mailbox.save_draft(mail())
        draft = await client.json(f"/me/messages/{drafts.id}")

    assert message["subject"] == "Grüße"
    assert message["from"] == {"emailAddress": {"name": "Zoé", "address": "zoe@example.net"}}
    assert message["internetMessageId"] == "<html@example.test>"
    assert message["receivedDateTime"] == "2025-01-02T03:04:05Z"
    assert message["parentFolderId"] == client.mailbox.folder("inbox").id
    assert message["hasAttachments"] is True
    assert message["importance"] == "high"
    assert message["flag"] == {"flagStatus": "notFlagged"}
    assert (message["isRead"], message["isDraft"]) == (False, False)
    assert (draft["isRead"], draft["isDraft"]) == (True, True)
    assert "internetMessageHeaders" not in message


async def test_select_returns_the_id_and_what_was_asked_for() -> None:
    async with graph_client() as client:
        made = client.mailbox.deliver(HTML_MAIL)
        message = await client.json(
            f"/me/messages/{made.id}?$select=subject,internetMessageHeaders"
        )

    values = {key: value for key, value in message.items() if not key.startswith("@")}
    assert set(values) == {"id", "subject", "internetMessageHeaders"}
    assert {"name": "X-Priority", "value": "1"} in values["internetMessageHeaders"]
    assert [header["name"] for header in values["internetMessageHeaders"]][:2] == [
        "Message-ID",
        "References",
    ]


async def test_what_is_no_property_cannot_be_selected() -> None:
    async with graph_client() as client:
        made = client.mailbox.deliver(HTML_MAIL)
        refused = [
            await client.error(path)
            for path in (
                "/me/messages?$select=size",
                f"/me/messages/{made.id}/attachments?$select=contentId",
                "/me/mailFolders?$select=wellKnownName",
                "/me/messages?$expand=nothing",
            )
        ]

    assert refused == [(400, "RequestBroker--ParseUri")] * 4


async def test_bodies_are_html_and_made_safe_unless_preferred_otherwise() -> None:
    async with graph_client() as client:
        made = client.mailbox.deliver(HTML_MAIL)
        path = f"/me/messages/{made.id}?$select=body"
        safe = await client.json(path)
        unsafe = await client.json(path, prefer="outlook.allow-unsafe-html")
        text = await client.get(path, prefer='outlook.body-content-type="text"')
        plain = client.mailbox.deliver(mail(text="1 < 2"))
        from_text = await client.json(f"/me/messages/{plain.id}?$select=body,bodyPreview")

    assert safe["body"]["contentType"] == "html"
    assert "evil" not in safe["body"]["content"]
    assert "evil" in unsafe["body"]["content"]
    assert text.json()["body"] == {"contentType": "text", "content": "Hi there"}
    assert text.headers["preference-applied"] == 'outlook.body-content-type="text"'
    assert from_text["body"]["contentType"] == "html"
    assert "1 &lt; 2" in from_text["body"]["content"]
    assert from_text["bodyPreview"] == "1 < 2"


async def test_messages_of_one_conversation_share_its_id() -> None:
    async with graph_client() as client:
        first = client.mailbox.deliver(mail("first"))
        answer = client.mailbox.deliver(HTML_MAIL, "archive")
        other = client.mailbox.deliver(mail("other"))
        ids = [
            (await client.json(f"/me/messages/{message.id}"))["conversationId"]
            for message in (first, answer, other)
        ]

    assert ids[0] == ids[1] != ids[2]


async def test_lists_are_newest_first_and_paged() -> None:
    async with graph_client(messages=30) as client:
        first = await client.json("/me/messages?$select=receivedDateTime&$top=20&$count=true")
        second = await client.json(first["@odata.nextLink"])
        inbox = await client.json("/me/mailFolders/inbox/messages?$top=100&$select=id")

    dates = [item["receivedDateTime"] for item in first["value"] + second["value"]]
    assert dates == sorted(dates, reverse=True)
    assert (len(dates), first["@odata.count"]) == (30, 30)
    assert len(inbox["value"]) == len(client.mailbox.in_folder("inbox"))


async def test_lists_are_filtered_by_the_time_of_receipt() -> None:
    async with graph_client() as client:
        for day in (1, 2, 3):
            client.mailbox.deliver(mail(), received_at=datetime(2025, 1, day, tzinfo=UTC))
        found = await client.json(
            "/me/messages?$filter=receivedDateTime ge 2025-01-02T00:00:00Z"
            " and receivedDateTime lt 2025-01-03T00:00:00Z"
        )

    assert [item["receivedDateTime"] for item in found["value"]] == ["2025-01-02T00:00:00Z"]


async def test_the_size_is_a_mapi_property() -> None:
    async with graph_client() as client:
        made = client.mailbox.deliver(HTML_MAIL)
        message = await client.json(
            f"/me/messages/{made.id}?$select=id"
            "&$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E08')"
        )

    assert message["singleValueExtendedProperties"] == [
        {"id": "Integer 0x0E08", "value": str(len(HTML_MAIL))}
    ]


async def test_generated_mail_comes_as_it_was_made() -> None:
    async with graph_client(messages=20) as client:
        found = {
            (await client.get(f"/me/messages/{message.id}/$value")).content
            for message in client.mailbox.messages.values()
        }

    expected = {
        generate(1, at, recipient=ADA, sent_at=FIRST_SENT_AT + at * MEAN_GAP).raw
        for at in range(20)
    }
    assert found == expected


async def test_mime_is_written_anew_and_may_differ() -> None:
    async with graph_client() as client:
        client.mailbox.quirks.mime_varies = True
        made = client.mailbox.deliver(mail())
        first, second = [await client.get(f"/me/messages/{made.id}/$value") for _ in range(2)]

    assert first.content != second.content
    assert first.content.endswith(mail())


# Attachments


async def test_attachments_are_files_inline_files_and_messages() -> None:
    async with graph_client() as client:
        made = client.mailbox.deliver(HTML_MAIL)
        listed = (await client.json(f"/me/messages/{made.id}/attachments"))["value"]
        content = await client.get(f"/me/messages/{made.id}/attachments/{listed[0]['id']}/$value")

    assert [item["@odata.type"].rpartition(".")[2] for item in listed] == [
        "fileAttachment",
        "fileAttachment",
        "itemAttachment",
    ]
    assert (listed[0]["name"], listed[0]["isInline"]) == ("a.pdf", False)
    assert base64.b64decode(listed[0]["contentBytes"]) == content.content == b"PDF"
    assert (listed[1]["contentId"], listed[1]["isInline"]) == ("pic@x", True)
    assert "contentBytes" not in listed[2]


async def test_a_files_own_properties_are_selected_with_a_cast() -> None:
    async with graph_client() as client:
        made = client.mailbox.deliver(HTML_MAIL)
        select = "$select=id,name,size,microsoft.graph.fileAttachment/contentId"
        listed = await client.json(f"/me/messages/{made.id}/attachments?{select}")
        expanded = await client.json(
            f"/me/messages/{made.id}?$select=id&$expand=attachments({select})"
        )

    assert set(listed["value"][0]) == {
        "@odata.type",
        "@odata.mediaContentType",
        *("id", "name", "size", "contentId"),
    }
    assert expanded["attachments"] == listed["value"]


async def test_a_message_with_nothing_but_inline_files_has_no_attachments() -> None:
    only_inline = HTML_MAIL.replace(b"attachment; filename", b"inline; filename").replace(
        b"message/rfc822", b"text/calendar"
    )

    async with graph_client() as client:
        made = client.mailbox.deliver(only_inline)
        message = await client.json(f"/me/messages/{made.id}")

    assert message["hasAttachments"] is False
    assert message["@odata.type"] == "#microsoft.graph.eventMessageRequest"
