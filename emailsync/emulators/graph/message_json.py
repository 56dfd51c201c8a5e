"""A message as Graph shows it: every property computed from the ledger when it is asked for."""

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from html import escape, unescape
from typing import Any

from emailsync.emulators.graph.attachment_json import attachment_json
from emailsync.emulators.graph.ids import IdKind, ItemId
from emailsync.emulators.graph.items import Folder, Message
from emailsync.emulators.graph.mail_content import Recipient
from emailsync.emulators.graph.odata import Preferences, Selection

ENTITY = "message"
EXPANDABLE = ("attachments",)
PREVIEW_CHARACTERS = 255
PARTIAL = ("isRead", "parentFolderId")

_SCRIPT = re.compile(
    r"<script\b.*?</script\s*>|\son\w+\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s>]+)",
    re.IGNORECASE | re.DOTALL,
)
_UNSEEN = re.compile(r"<(head|style|script)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class MessageView:
    """How the client wants to see messages of a folder."""

    folder: Folder
    preferences: Preferences
    selection: Selection
    shows_extended: bool = True  #: MAPI properties, which delta queries do not return

    def id_of(self, message: Message) -> str:
        """Return the id of the kind that the client has asked for."""
        return message.id if self.preferences.immutable_ids else message.regular_id

    def id_after(self, number: int, moves: int) -> str:
        """Return the id that a message had after so many moves."""
        if self.preferences.immutable_ids:
            return str(ItemId(self.folder.mailbox, IdKind.MESSAGE, number))
        return str(ItemId(self.folder.mailbox, IdKind.REGULAR_MESSAGE, number, moves))

    def full(self, message: Message) -> dict[str, Any]:
        """Return the selected properties and expansions."""
        select = DEFAULT if self.selection.select is None else self.selection.select
        entity = self._head(message) | {
            name: PROPERTIES[name](message, self) for name in select if name != "id"
        }
        if "attachments" in self.selection.expand:
            entity["attachments"] = [
                attachment_json(message, position, self.selection.expand["attachments"])
                for position in range(len(message.content.attachments))
            ]
        if self.shows_extended and (extended := _extended(message, self.selection.extended)):
            entity["singleValueExtendedProperties"] = extended
        return entity

    def partial(self, message: Message) -> dict[str, Any] | None:
        """Return what is told of a change of isRead; None when that was not selected."""
        select = self.selection.select
        if select is not None and "isRead" not in select:
            return None
        return self._head(message) | {name: PROPERTIES[name](message, self) for name in PARTIAL}

    def _head(self, message: Message) -> dict[str, Any]:
        kind = "message"
        if _needs_content(self.selection) and message.content.is_invitation:
            kind = "eventMessageRequest"
        return {
            "@odata.type": f"#microsoft.graph.{kind}",
            "@odata.etag": f'W/"{_change_key(message)}"',
            "id": self.id_of(message),
        }


def _needs_content(selection: Selection) -> bool:
    return selection.select is None or not set(selection.select) <= _WITHOUT_CONTENT


def utc(instant: datetime) -> str:
    """Return the instant in Graph's form, to the second."""
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def conversation_of(message: Message) -> str:
    """Return the id that the messages of one conversation share: that of its first message."""
    content = message.content
    root = next(iter(content.references), content.message_id) or str(message.number)
    digest = blake2b(message.mailbox + root.encode(), digest_size=24).digest()
    return "AAQkA" + base64.urlsafe_b64encode(digest).decode()


def headers_of(message: Message) -> list[dict[str, str]] | None:
    """Return internetMessageHeaders; drafts that were never sent have none."""
    if message.is_draft:
        return None
    return [{"name": name, "value": value} for name, value in message.content.headers]


def text_of(message: Message) -> str:
    """Return the text, made from HTML where there is nothing else."""
    content = message.content
    if content.text is not None or content.html is None:
        return content.text or ""
    return unescape(_TAG.sub("", _UNSEEN.sub("", content.html))).strip()


def _body(message: Message, view: MessageView) -> dict[str, str]:
    if view.preferences.body_type == "text":
        return {"contentType": "text", "content": text_of(message)}
    html = message.content.html
    if html is None:
        html = (
            '<html><head>\r\n<meta http-equiv="Content-Type" content="text/html; charset=utf-8">'
            '</head><body>\r\n<div class="PlainText">'
            f"{escape(text_of(message)).replace(chr(10), '<br>' + chr(10))}</div>\r\n</body></html>"
        )
    elif not view.preferences.unsafe_html:
        html = _SCRIPT.sub("", html)
    return {"contentType": "html", "content": html}


def _change_key(message: Message) -> str:
    digest = blake2b(f"{message.number}/{message.version}".encode(), digest_size=16).digest()
    return "CQAAABYA" + base64.b64encode(digest).decode()


def _recipient(person: Recipient) -> dict[str, Any]:
    return {"emailAddress": {"name": person.name or person.address, "address": person.address}}


def _recipients(people: Sequence[Recipient]) -> list[dict[str, Any]]:
    return [_recipient(person) for person in people]


def _sender(message: Message, _view: MessageView) -> dict[str, Any] | None:
    sender = message.content.from_
    return _recipient(sender) if sender else None


def _conversation_index(message: Message, _view: MessageView) -> str:
    """Return the bytes by which Outlook orders a conversation: 22, and 5 for each answer."""
    head = b"\x01" + conversation_of(message).encode()[:21]
    return base64.b64encode(head + bytes(5 * len(message.content.references))).decode()


def _extended(message: Message, wanted: Sequence[str]) -> list[dict[str, str]]:
    """Return the MAPI properties that readers ask for: the size, and the headers as sent."""
    known: dict[str, Callable[[], str]] = {
        "integer 0xe08": lambda: str(len(message.content.raw)),
        "string 0x7d": lambda: message.content.raw.partition(b"\r\n\r\n")[0].decode(
            errors="replace"
        ),
    }
    found = []
    for name in wanted:
        kind, _, tag = name.lower().partition(" ")
        key = f"{kind} 0x{tag.removeprefix('0x').lstrip('0')}"
        if key in known:
            found.append({"id": name, "value": known[key]()})
    return found


PROPERTIES: dict[str, Callable[[Message, MessageView], Any]] = {
    "id": lambda message, view: view.id_of(message),
    "createdDateTime": lambda message, _: utc(message.received_at),
    "lastModifiedDateTime": lambda message, _: utc(message.modified_at),
    "changeKey": lambda message, _: _change_key(message),
    "categories": lambda message, _: list(message.categories),
    "receivedDateTime": lambda message, _: utc(message.received_at),
    "sentDateTime": lambda message, _: utc(message.content.sent_at or message.received_at),
    "hasAttachments": lambda message, _: any(
        not attachment.is_inline for attachment in message.content.attachments
    ),
    "internetMessageId": lambda message, _: message.content.message_id,
    "internetMessageHeaders": lambda message, _: headers_of(message),
    "subject": lambda message, _: message.content.subject,
    "bodyPreview": lambda message, _: _SPACE.sub(" ", text_of(message)).strip()[
        :PREVIEW_CHARACTERS
    ],
    "importance": lambda message, _: (
        "high" if message.content.header("x-priority").startswith(("1", "2")) else "normal"
    ),
    "parentFolderId": lambda _, view: view.folder.id,
    "conversationId": lambda message, _: conversation_of(message),
    "conversationIndex": _conversation_index,
    "isDeliveryReceiptRequested": lambda _message, _: False,
    "isReadReceiptRequested": lambda message, _: bool(
        message.content.header("disposition-notification-to")
    ),
    "isRead": lambda message, _: message.is_read,
    "isDraft": lambda message, _: message.is_draft,
    "webLink": lambda message, view: (
        f"https://outlook.office365.com/owa/?ItemID={view.id_of(message)}&viewmodel=ReadMessageItem"
    ),
    "inferenceClassification": lambda _message, _: "focused",
    "body": _body,
    "uniqueBody": _body,
    "sender": _sender,
    "from": _sender,
    "toRecipients": lambda message, _: _recipients(message.content.to),
    "ccRecipients": lambda message, _: _recipients(message.content.cc),
    "bccRecipients": lambda message, _: _recipients(message.content.bcc),
    "replyTo": lambda message, _: _recipients(message.content.reply_to),
    "flag": lambda message, _: {"flagStatus": str(message.flag)},
}

#: What only comes when it is selected.
_ON_REQUEST = {"internetMessageHeaders", "uniqueBody"}
DEFAULT = [name for name in PROPERTIES if name not in _ON_REQUEST]
_WITHOUT_CONTENT = {
    "id",
    "createdDateTime",
    "lastModifiedDateTime",
    "changeKey",
    "categories",
    "receivedDateTime",
    "parentFolderId",
    "isRead",
    "isDraft",
    "flag",
}
