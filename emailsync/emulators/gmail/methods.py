"""What each method of the emulated Gmail API answers, given the mailbox and the call.

Methods return JSON values, or bytes that are JSON already; they raise Refused for everything else.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from emailsync.emulators.gmail.behaviour import Behaviour
from emailsync.emulators.gmail.errors import invalid_argument, not_found
from emailsync.emulators.gmail.exchange import Call, Refused
from emailsync.emulators.gmail.history import HistoryExpired
from emailsync.emulators.gmail.ledger import SPAM, TRASH, GmailMailbox, GmailMessage
from emailsync.emulators.gmail.resources import (
    attachment,
    base64url,
    counted_label_json,
    full_payload,
    history_json,
    label_json,
    message_json,
    metadata_payload,
    raw_message,
)

DEFAULT_RESULTS: Final = 100
MAX_RESULTS: Final = 500
FORMATS: Final = ("minimal", "full", "raw", "metadata")
HISTORY_KINDS: Final = ("messageAdded", "messageDeleted", "labelAdded", "labelRemoved")
HIDDEN: Final = frozenset({SPAM, TRASH})  #: not listed unless asked for


@dataclass(frozen=True, slots=True)
class Request:
    """A call with what its path names."""

    mailbox: GmailMailbox
    call: Call
    ids: Mapping[str, str]
    behaviour: Behaviour


Answer = Mapping[str, Any] | bytes


def get_profile(request: Request) -> Answer:
    """Answer `users.getProfile`."""
    messages = request.mailbox.messages.values()
    return {
        "emailAddress": request.mailbox.address,
        "messagesTotal": len(messages),
        "threadsTotal": len({message.thread_id for message in messages}),
        "historyId": str(request.mailbox.history.current_id),
    }


def list_labels(request: Request) -> Answer:
    """Answer `users.labels.list`."""
    return {"labels": [label_json(label) for label in request.mailbox.labels.values()]}


def get_label(request: Request) -> Answer:
    """Answer `users.labels.get`."""
    label = request.mailbox.labels.get(request.ids["id"])
    if label is None:
        raise Refused(not_found())
    return counted_label_json(request.mailbox, label)


def list_messages(request: Request) -> Answer:
    """Answer `users.messages.list`: newest first; a page begins behind the last one's end."""
    call = request.call
    limit = _max_results(call)
    start = _listing_start(request)
    found = list(islice(_listed(request), start, start + limit + 1))
    answer: dict[str, Any] = {}
    if found:
        answer["messages"] = [
            {"id": message.id, "threadId": message.thread_id} for message in found[:limit]
        ]
    if len(found) > limit:
        last = found[limit - 1]
        by_position = request.behaviour.listing_by_position
        token = str(start + limit) if by_position else f"{last.internal_date}-{last.id}"
        answer["nextPageToken"] = token
    return answer | {"resultSizeEstimate": len(found)}  # what Gmail gives is as rough


def _listed(request: Request) -> Iterator[GmailMessage]:
    mailbox, call = request.mailbox, request.call
    wanted = frozenset(call.query.get("labelIds", ()))
    for label in wanted:
        _require_label(mailbox, label)
    more_than_bytes = _searched_size(call)
    hidden = frozenset() if call.first("includeSpamTrash") == "true" else HIDDEN - wanted
    for _, identifier in mailbox.newest_first(before=_listing_position(request)):
        message = mailbox.messages[identifier]
        is_hidden = not (wanted <= message.labels and hidden.isdisjoint(message.labels))
        if not is_hidden and (more_than_bytes is None or len(message.raw) > more_than_bytes):
            yield message


def _searched_size(call: Call) -> int | None:
    """Return the size that a search is for; nothing but `larger:` is emulated."""
    search = call.first("q")
    if search is None:
        return None
    size = re.fullmatch(r"larger:(\d{1,9})M", search)
    if size is None:
        raise Refused(invalid_argument("This search is not emulated."))
    return int(size[1]) * 1024 * 1024


def _listing_start(request: Request) -> int:
    """Return how many messages come before the page."""
    token = request.call.first("pageToken") or ""
    return int(token) if request.behaviour.listing_by_position and token.isdecimal() else 0


def _listing_position(request: Request) -> tuple[int, str] | None:
    """Return date and id of the message that the page comes behind."""
    token = request.call.first("pageToken")
    if not token or request.behaviour.listing_by_position:
        return None
    date, _, identifier = token.partition("-")
    if not date.isdecimal():
        raise Refused(invalid_argument("Invalid pageToken"))
    return int(date), identifier


def get_message(request: Request) -> Answer:
    """Answer `users.messages.get`."""
    message = _message(request, request.ids["id"])
    wanted = request.call.first("format") or "full"
    padded = request.behaviour.base64_padding
    if wanted not in FORMATS:
        raise Refused(invalid_argument(f"Invalid value at 'format': {wanted}"))
    if wanted == "raw":
        return raw_message(message, padded=padded)
    raw = message.raw
    answer = message_json(message, raw)
    if wanted == "full":
        answer["payload"] = full_payload(raw, padded=padded)
    elif wanted == "metadata":
        names = request.call.query.get("metadataHeaders", ())
        answer["payload"] = metadata_payload(raw, names)
    return answer


def get_attachment(request: Request) -> Answer:
    """Answer `users.messages.attachments.get`."""
    content = attachment(_message(request, request.ids["message"]).raw, request.ids["id"])
    if content is None:
        raise Refused(invalid_argument("Invalid attachment token"))
    data = base64url(content, padded=request.behaviour.base64_padding).decode()
    return {"size": len(content), "data": data}


def list_history(request: Request) -> Answer:
    """Answer `users.history.list`: each page has the history id that is current now."""
    call, history = request.call, request.mailbox.history
    kinds = call.query.get("historyTypes", ())
    label = call.first("labelId")
    if any(kind not in HISTORY_KINDS for kind in kinds):
        raise Refused(invalid_argument("Invalid value at 'history_types'"))
    if label is not None:
        _require_label(request.mailbox, label)
    start, is_behind_blank = _history_position(call)
    try:
        records, more = history.after(start, kinds=kinds, label=label, limit=_max_results(call))
    except HistoryExpired:
        raise Refused(not_found()) from None
    answer: dict[str, Any] = {"historyId": str(history.current_id)}
    if records and request.behaviour.blank_history_pages and not is_behind_blank:
        return answer | {"nextPageToken": f"{start}-blank"}
    if records:
        answer["history"] = [history_json(record, kinds) for record in records]
    if more:
        answer["nextPageToken"] = str(records[-1].id)
    return answer


def _history_position(call: Call) -> tuple[int, bool]:
    """Return behind which id the page begins, and whether a blank page has come before it."""
    start = call.first("startHistoryId") or ""
    position, _, blank = (call.first("pageToken") or start).partition("-")
    if not (start.isdecimal() and position.isdecimal()):
        raise Refused(invalid_argument("Invalid startHistoryId or pageToken"))
    return int(position), bool(blank)


def _max_results(call: Call) -> int:
    value = call.first("maxResults") or str(DEFAULT_RESULTS)
    if not value.isdecimal() or int(value) == 0:
        raise Refused(invalid_argument(f"Invalid value at 'max_results': {value}"))
    return min(int(value), MAX_RESULTS)


def _message(request: Request, identifier: str) -> GmailMessage:
    message = request.mailbox.messages.get(identifier)
    if message is None:
        raise Refused(not_found())
    return message


def _require_label(mailbox: GmailMailbox, label: str) -> None:
    if label not in mailbox.labels:
        raise Refused(invalid_argument(f"Invalid label: {label}"))


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its name in the quota table, its path under a user, and what answers it."""

    name: str
    path: str
    answer: Callable[[Request], Answer]

    @property
    def pattern(self) -> re.Pattern[str]:
        """Return what matches whole request paths, with groups for `user` and the ids."""
        return re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", ROOT + self.path))


ROOT: Final = "/gmail/v1/users/{user}"
METHODS: Final = (
    Method("messages.get", "/messages/{id}", get_message),
    Method("history.list", "/history", list_history),
    Method("labels.list", "/labels", list_labels),
    Method("messages.list", "/messages", list_messages),
    Method("labels.get", "/labels/{id}", get_label),
    Method("getProfile", "/profile", get_profile),
    Method("attachments.get", "/messages/{message}/attachments/{id}", get_attachment),
)
