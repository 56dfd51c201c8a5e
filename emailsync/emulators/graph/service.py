"""The emulated Graph apart from HTTP: who may ask, what is counted, which resource answers."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import unquote
from uuid import uuid4

from emailsync.emulators.graph import resources
from emailsync.emulators.graph.call import Call
from emailsync.emulators.graph.errors import (
    GraphError,
    access_denied,
    bad_request,
    mailbox_not_enabled,
    no_valid_token,
    unknown_segment,
    unknown_user,
)
from emailsync.emulators.graph.exchange import Answer, Request
from emailsync.emulators.graph.ledger import GraphLedger
from emailsync.emulators.graph.mailbox import Mailbox
from emailsync.emulators.graph.throttling import Limits, Throttle
from emailsync.emulators.http_host import ANY_MAILBOX, TokenAuthority
from emailsync.emulators.usage import Usage

_KEY_SEGMENT = re.compile(r"(\w+)\('(.*)'\)$", re.DOTALL)


class _Resource(NamedTuple):
    name: str  #: as calls are counted
    pattern: Sequence[str]  #: segments in lower case; "*" is an id
    answer: Callable[[Call], Answer]


def _resource(name: str, path: str, answer: Callable[[Call], Answer]) -> _Resource:
    return _Resource(name, path.lower().split("/") if path else [], answer)


_RESOURCES = [
    _resource("user.get", "", resources.get_user),
    _resource("mailFolders.list", "mailFolders", resources.list_folders),
    _resource("mailFolders.delta", "mailFolders/delta", resources.follow_folders),
    _resource("mailFolders.get", "mailFolders/*", resources.get_folder),
    _resource("childFolders.list", "mailFolders/*/childFolders", resources.list_child_folders),
    _resource("messages.list", "messages", resources.list_messages),
    _resource("messages.list", "mailFolders/*/messages", resources.list_messages),
    _resource("messages.delta", "mailFolders/*/messages/delta", resources.follow_messages),
    *(
        _resource(name, f"{above}messages/*{path}", answer)
        for above in ("", "mailFolders/*/")
        for name, path, answer in (
            ("messages.get", "", resources.get_message),
            ("messages.mime", "/$value", resources.get_mime),
            ("attachments.list", "/attachments", resources.list_attachments),
            ("attachments.get", "/attachments/*", resources.get_attachment),
            ("attachments.bytes", "/attachments/*/$value", resources.get_attachment_bytes),
        )
    ),
]


class GraphService:
    """Answers requests, those of batches among them."""

    def __init__(
        self, ledger: GraphLedger, authority: TokenAuthority, limits: Limits, usage: Usage
    ) -> None:
        self.usage = usage
        self.limits = limits
        self.id_types: Counter[str] = Counter()  #: of requests for mail: "immutable", "regular"
        self._ledger = ledger
        self._authority = authority
        self._throttle = Throttle(limits, usage)

    async def answer(self, request: Request) -> Answer:
        """Answer one request; refusals are answers too."""
        try:
            return await self._answer(request)
        except GraphError as error:
            return refusal(error, request)

    async def _answer(self, request: Request) -> Answer:
        owner = self.owner_of(request)
        root, segments = _segments(request.path)
        resource, names = _find(segments)
        mailbox = self._mailbox(owner, root)
        self.usage.calls[resource.name] += 1
        if segments:
            self.id_types["immutable" if request.preferences.immutable_ids else "regular"] += 1
        async with self._throttle.admitted(mailbox.address):
            if request.method != "GET":
                raise bad_request(f"{request.method} is not offered here.")
            answer = resource.answer(Call(request, mailbox, names))
        if applied := request.preferences.applied():
            answer.headers["Preference-Applied"] = applied
        return answer

    def owner_of(self, request: Request) -> str:
        """Return whose token it is.

        Raises:
            GraphError: 401.
        """
        if not request.token:
            raise no_valid_token("Access token is empty.")
        owner = self._authority.mailbox_of(request.token)
        if owner is None:
            raise no_valid_token("Access token has expired or is not yet valid.")
        return owner

    def _mailbox(self, owner: str, root: str | None) -> Mailbox:
        """Return the mailbox that is asked for; `root` is the user's name, None for /me."""
        if root is None and owner == ANY_MAILBOX:
            raise bad_request("/me request is only valid with delegated authentication flow.")
        try:
            mailbox = self._ledger.mailbox(owner if root is None else root)
        except KeyError:
            raise unknown_user(root or owner) from None
        is_own = owner == ANY_MAILBOX or mailbox.address.casefold() == owner.casefold()
        if mailbox.access.claims:
            raise no_valid_token(
                "Continuous access evaluation resulted in challenge.",
                claims=mailbox.access.claims,
            )
        if mailbox.access.is_denied or not is_own:
            raise access_denied()
        if not mailbox.access.is_enabled:
            raise mailbox_not_enabled()
        return mailbox


def refusal(error: GraphError, request: Request) -> Answer:
    """Return the answer that an error is."""
    request_id = str(uuid4())
    client_id = request.headers.get("client-request-id", request_id)
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return Answer(
        status=error.status,
        body=error.body(request_id, client_id, date),
        headers={**error.headers, "request-id": request_id},
    )


def _segments(path: str) -> tuple[str | None, Sequence[str]]:
    """Return the user (None: /me) and the segments after it; keys may stand in parentheses."""
    segments: list[str] = []
    for segment in path.strip("/").split("/"):
        match = _KEY_SEGMENT.match(unquote(segment))
        segments += match.groups() if match else [unquote(segment)]
    if segments[0].lower() == "me":
        return None, segments[1:]
    if segments[0].lower() == "users" and len(segments) > 1:
        return segments[1], segments[2:]
    raise unknown_segment(segments[0])


def _find(segments: Sequence[str]) -> tuple[_Resource, Sequence[str]]:
    """Return the resource of a path and the ids in it."""
    for resource in _RESOURCES:
        if len(resource.pattern) == len(segments):
            pairs = list(zip(resource.pattern, segments, strict=True))
            if all(part in {"*", segment.lower()} for part, segment in pairs):
                return resource, [segment for part, segment in pairs if part == "*"]
    raise unknown_segment(segments[-1] if segments else "")
