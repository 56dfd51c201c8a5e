"""What each resource of the mail API answers, once the caller is known and let in."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime

from emailsync.emulators.graph import delta, folder_json, ids, message_json
from emailsync.emulators.graph.attachment_json import attachment_json, check_select
from emailsync.emulators.graph.call import Call, found
from emailsync.emulators.graph.delta_sources import FolderSource, MessageSource, Source
from emailsync.emulators.graph.errors import bad_query, item_not_found, not_consented
from emailsync.emulators.graph.exchange import Answer
from emailsync.emulators.graph.ids import IdKind
from emailsync.emulators.graph.items import ROOT, Folder, Message
from emailsync.emulators.graph.mail_content import MailAttachment
from emailsync.emulators.graph.odata import (
    DEFAULT_PAGE_SIZE,
    Selection,
    parse_received_filter,
    parse_selection,
)

MIME = "text/plain"  #: what Graph itself calls a message in RFC 5322 form


def get_user(call: Call) -> Answer:
    """Whose mailbox it is, if that was consented to."""
    mailbox = call.mailbox
    if not mailbox.access.tells_owner:
        raise not_consented()
    others = [f"smtp:{address}" for address in mailbox.aliases]
    return Answer(
        body=call.context("users/$entity")
        | {
            "id": mailbox.user_id,
            "displayName": mailbox.address.partition("@")[0].title(),
            "mail": mailbox.address,
            "userPrincipalName": mailbox.address,
            "proxyAddresses": [f"SMTP:{mailbox.address}", *others],
        }
    )


def list_folders(call: Call) -> Answer:
    """List the folders right under the root."""
    return _folders_under(call, call.mailbox.folder(ROOT))


def list_child_folders(call: Call) -> Answer:
    """List the folders right under one, which do not include deeper ones."""
    return _folders_under(call, call.folder())


def _folders_under(call: Call, parent: Folder) -> Answer:
    shows_hidden = call.request.query.get("includeHiddenFolders", "").lower() == "true"
    folders = [f for f in call.mailbox.children(parent) if shows_hidden or not f.is_hidden]
    selection = _folder_selection(call)
    return call.paged(
        "users/mailFolders",
        folders,
        lambda folder: folder_json.folder_json(call.mailbox, folder, selection),
    )


def get_folder(call: Call) -> Answer:
    """Show one folder, by its id or well-known name."""
    entity = folder_json.folder_json(call.mailbox, call.folder(), _folder_selection(call))
    return Answer(body=call.context("users/mailFolders/$entity") | entity)


def _folder_selection(call: Call) -> Selection:
    return parse_selection(
        call.request.query, folder_json.ENTITY, folder_json.PROPERTIES, folder_json.EXPANDABLE
    )


def follow_folders(call: Call) -> Answer:
    """Tell what changed in the hierarchy of folders."""
    return _follow(call, lambda query: FolderSource(call.mailbox, query))


def follow_messages(call: Call) -> Answer:
    """Tell what changed in one folder."""
    folder, preferences = call.folder(), call.request.preferences
    return _follow(call, lambda query: MessageSource(call.mailbox, folder, query, preferences))


def _follow(call: Call, source_of: Callable[[dict[str, str]], Source]) -> Answer:
    token = delta.Token.of(call.request.query)
    source = source_of(dict(token.position.query if token else call.request.query))
    if token is None:
        position = delta.first_position(call.mailbox, source, dict(call.request.query))
    else:
        delta.check_token(token, call.mailbox, source.scope, call.url)
        position = token.position
    size = call.request.preferences.page_size or DEFAULT_PAGE_SIZE
    page = delta.answer(call.mailbox, source, position, size=size, url=call.url)
    return Answer(body=call.context(f"Collection({source.entity})") | page)


def list_messages(call: Call) -> Answer:
    """List the mailbox, or one folder, by default from the newest received on."""
    query = call.request.query
    if "$search" in query:
        raise bad_query("$search is not supported here.")
    passes = parse_received_filter(query.get("$filter", ""))
    inside = call.folder().number if call.names else None
    shown = [
        message
        for message in call.mailbox.messages.values()
        if inside in {None, message.folder} and passes(message.received_at)
    ]
    selection = _message_selection(call)
    return call.paged(
        "users/messages",
        _ordered(shown, query.get("$orderby", "receivedDateTime desc")),
        lambda message: call.view(message, selection).full(message),
    )


def _ordered(messages: Sequence[Message], order: str) -> Sequence[Message]:
    match = re.fullmatch(r"\s*receivedDateTime(?:\s+(asc|desc))?\s*", order, re.IGNORECASE)
    if match is None:
        raise bad_query(f"The order '{order}' is not supported.")

    def key(message: Message) -> tuple[datetime, int]:
        return message.received_at, message.number

    return sorted(messages, key=key, reverse=(match[1] or "").lower() == "desc")


def get_message(call: Call) -> Answer:
    """Show one message."""
    message = call.message()
    entity = call.view(message, _message_selection(call)).full(message)
    return Answer(body=call.context("users/messages/$entity") | entity)


def _message_selection(call: Call) -> Selection:
    selection = parse_selection(
        call.request.query, message_json.ENTITY, message_json.PROPERTIES, message_json.EXPANDABLE
    )
    check_select(selection.expand.get("attachments"))
    return selection


def get_mime(call: Call) -> Answer:
    """Return the message in RFC 5322 form, which Exchange writes anew each time."""
    raw = call.message().content.raw
    if call.mailbox.quirks.mime_varies:
        raw = b"X-MS-Exchange-Generated: %d\r\n%b" % (next(call.mailbox.written), raw)
    return Answer(body=raw, content_type=MIME)


def list_attachments(call: Call) -> Answer:
    """List the attachments of a message, with their bytes unless $select leaves these out."""
    message = call.message()
    select = _attachment_selection(call).select
    return call.paged(
        "users/messages/attachments",
        range(len(message.content.attachments)),
        lambda position: attachment_json(message, position, select),
    )


def get_attachment(call: Call) -> Answer:
    """Show one attachment."""
    message, position = _attachment(call)
    entity = attachment_json(message, position, _attachment_selection(call).select)
    return Answer(body=call.context("users/messages/attachments/$entity") | entity)


def get_attachment_bytes(call: Call) -> Answer:
    """Return what is attached."""
    message, position = _attachment(call)
    attachment: MailAttachment = message.content.attachments[position]
    return Answer(body=attachment.octets, content_type=attachment.content_type)


def _attachment(call: Call) -> tuple[Message, int]:
    *_, message_name, name = call.names
    message = found(call.mailbox.message, message_name)
    part = found(ids.parse, name)
    is_part = part.kind is IdKind.ATTACHMENT and part.number == message.number
    if not is_part or part.detail >= len(message.content.attachments):
        raise item_not_found()
    return message, part.detail


def _attachment_selection(call: Call) -> Selection:
    names = [name.strip() for name in call.request.query.get("$select", "").split(",") if name]
    check_select(names)
    return Selection(select=names or None)
