"""Messages as Graph's JSON has them, whatever the JSON."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from emailsync.domain.folders import FolderId
from emailsync.domain.mail import Address, Flags
from emailsync.domain.pages import Placement
from emailsync.providers.graph.items import (
    CONTENT,
    attachments_of,
    flags_of,
    has_content,
    has_envelope,
    message_of,
    parent_of,
    wants_attachments,
)

ITEM = {
    "id": "AAkAL1",
    "parentFolderId": "AQMkA1",
    "conversationId": "AAQkA1",
    "receivedDateTime": "2026-10-01T08:30:00Z",
    "isRead": False,
    "isDraft": False,
    "flag": {"flagStatus": "flagged"},
    "categories": ["Red category", "Blue category", "Red category"],
    "internetMessageId": "<one@example.test>",
    "subject": "Hello",
    "from": {"emailAddress": {"name": "Bob", "address": "bob@example.test"}},
    "sender": {"emailAddress": {"name": "Secretary", "address": "sec@example.test"}},
    "toRecipients": [{"emailAddress": {"name": "ada@example.test", "address": "ada@example.test"}}],
    "ccRecipients": [],
    "bccRecipients": [],
    "replyTo": [{"emailAddress": {"address": "list@example.test"}}],
    "sentDateTime": "2026-10-01T08:29:58.1234567Z",
    "bodyPreview": "Hello \r\n world",
    "body": {"contentType": "html", "content": "<p>Hello\r\n<b>world</b></p>\r\n"},
    "internetMessageHeaders": [
        {"name": "Received", "value": "one"},
        {"name": "received", "value": "two"},
        {"name": "References", "value": "<root@x> <parent@x>"},
        {"name": "In-Reply-To", "value": "<parent@x>"},
    ],
    "hasAttachments": True,
}


def message(item: dict[str, Any]) -> Any:
    return message_of(
        item,
        (Placement(FolderId(1)),),
        raw=None,
        attachments=attachments_of(
            [{"name": "a.pdf", "size": 7, "contentType": "Application/PDF"}]
        ),
        problem=None,
        truncated=False,
    )


def test_an_item_says_what_a_message_says() -> None:
    fetched = message(ITEM)
    parsed = fetched.parsed

    assert has_content(ITEM)
    assert fetched.flags == Flags(is_starred=True, keywords=("Blue category", "Red category"))
    assert fetched.thread_key == "AAQkA1"
    assert str(fetched.received_at) == "2026-10-01 08:30:00+00:00"
    assert (parsed.message_id, parsed.in_reply_to) == ("one@example.test", "parent@x")
    assert parsed.references == ["root@x", "parent@x"]
    assert parsed.from_ == Address("Bob", "bob@example.test")
    assert parsed.to == [Address("", "ada@example.test")]
    assert parsed.reply_to == [Address("", "list@example.test")]
    assert str(parsed.sent_at) == "2026-10-01 08:29:58.123456+00:00"
    assert (parsed.body_text, parsed.body_html) == (None, "<p>Hello\n<b>world</b></p>")
    assert parsed.snippet == "Hello world"
    assert parsed.headers["received"] == ["one", "two"]
    assert fetched.size_bytes == len(ITEM["body"]["content"]) + 7  # type: ignore[index]  # a dict
    assert parsed.attachments[0].content_type == "application/pdf"


def test_what_a_partial_item_does_not_tell_stays_as_it_was() -> None:
    known = Flags(is_read=False, is_starred=True, is_draft=True, keywords=("Red category",))
    partial = {"id": "AAkAL1", "isRead": True, "parentFolderId": "AQMkA1"}

    assert flags_of(partial, known) == Flags(
        is_read=True, is_starred=True, is_draft=True, keywords=("Red category",)
    )
    assert not has_envelope(partial)


def test_a_text_body_is_text_and_headers_may_be_missing() -> None:
    item = {**ITEM, "body": {"contentType": "Text", "content": "One\r\nTwo\r\n"}}
    del item["internetMessageHeaders"]

    parsed = message(item).parsed

    assert has_content(item)
    assert (parsed.body_text, parsed.body_html, parsed.headers) == ("One\nTwo", None, {})


def test_a_message_with_only_an_inline_picture_has_attachments_to_ask_for() -> None:
    """`hasAttachments` is false then (learn.microsoft.com/graph/api/resources/message)."""
    body = {"contentType": "html", "content": '<img src="cid:image1">'}

    assert wants_attachments({**ITEM, "hasAttachments": False, "body": body})
    assert not wants_attachments({**ITEM, "hasAttachments": False})


def test_exchanges_year_one_is_no_date() -> None:
    parsed = message({**ITEM, "sentDateTime": "0001-01-01T00:00:00Z"}).parsed

    assert parsed.sent_at is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "address", "emailAddress", "content", "flagStatus", "value"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(values=st.dictionaries(st.sampled_from(CONTENT), JSON), parts=JSON)
def test_no_json_whatever_stops_the_reader(values: dict[str, Any], parts: Any) -> None:
    item = {**ITEM, **values, "id": "AAkAL1"}

    fetched = message_of(
        item,
        (Placement(FolderId(1)),),
        raw=None,
        attachments=attachments_of(parts),
        problem=None,
        truncated=False,
    )

    assert isinstance(fetched.flags.is_read, bool)
    assert parent_of(item) is None or isinstance(parent_of(item), str)
    wants_attachments(item)
