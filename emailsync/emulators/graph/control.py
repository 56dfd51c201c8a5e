"""The ledger for other processes, over HTTP under `/_control`.

* `GET /_control/mailboxes` -> `{address: {"messages": N, "folders": N}}`
* `PUT /_control/mailboxes/{address}` `{"messages": N, "seed": S, "folders": [path, ...]}` makes one
* `GET /_control/mailboxes/{address}` -> folders, and all messages with the SHA-256 of their bytes
* `POST /_control/mailboxes/{address}/{operation}` with the arguments of the operation of `Mailbox`
  as an object -> `{"result": id}`; `raw` is base64, times are ISO 8601
* `PATCH /_control/mailboxes/{address}/quirks` and `.../access` change fields of theirs
* `PATCH /_control/limits` changes fields of the limits
* `PUT /_control/life` `{"changes_per_s": R}`
* `GET /_control/id-types` -> how many requests asked for immutable ids, and how many did not
"""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emailsync.emulators.control import NO_CONTENT
from emailsync.emulators.faults import CONTROL_PREFIX
from emailsync.emulators.graph.items import FlagStatus, Folder, Message
from emailsync.emulators.graph.ledger import GraphLedger
from emailsync.emulators.graph.mailbox import Mailbox
from emailsync.emulators.graph.message_json import conversation_of, utc
from emailsync.emulators.graph.quirks import ExpiredAnswer, LinkKind, Loop, RemovedReason
from emailsync.emulators.graph.service import GraphService
from emailsync.emulators.graph.throttling import Limits
from emailsync.emulators.mail_life import MailLife

MAILBOXES: Final = f"{CONTROL_PREFIX}/mailboxes"
OPERATIONS: Final = frozenset(
    {
        *("deliver", "save_draft", "revise_draft", "set_read", "set_flag", "categorise"),
        *("move", "trash", "delete", "create_folder", "rename_folder", "move_folder"),
        *("delete_folder", "expire_tokens"),
    }
)
READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "raw": base64.b64decode,
    "received_at": datetime.fromisoformat,
    "status": FlagStatus,
    "answer": ExpiredAnswer,
    "kinds": lambda names: tuple(map(LinkKind, names)),
    "loop": lambda name: name and Loop(name),
    "moved_reason": RemovedReason,
}
NOT_FOUND = 404

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class GraphControl:
    """The endpoints; see above."""

    ledger: GraphLedger
    limits: Limits
    life: MailLife[Mailbox]
    service: GraphService

    def routes(self) -> Sequence[Route]:
        """Return the routes of all of them."""
        one = f"{MAILBOXES}/{{address}}"
        return [
            Route(MAILBOXES, self.list_mailboxes, methods=["GET"]),
            Route(one, self.add_mailbox, methods=["PUT"]),
            Route(one, self.read_mailbox, methods=["GET"]),
            Route(f"{one}/deliver_generated", self.deliver_generated, methods=["POST"]),
            Route(f"{one}/{{operation}}", self.operate, methods=["POST"]),
            Route(f"{one}/{{part}}", self.patch_mailbox, methods=["PATCH"]),
            Route(f"{CONTROL_PREFIX}/limits", self.patch_limits, methods=["PATCH"]),
            Route(f"{CONTROL_PREFIX}/life", self.patch_life, methods=["PUT"]),
            Route(f"{CONTROL_PREFIX}/id-types", self.read_id_types, methods=["GET"]),
        ]

    async def list_mailboxes(self, _request: Request) -> Response:
        """List the mailboxes."""
        mailboxes = self.ledger.mailboxes.values()
        return JSONResponse({mailbox.address: _summary(mailbox) for mailbox in mailboxes})

    async def add_mailbox(self, request: Request) -> Response:
        """Make a mailbox."""
        mailbox = self.ledger.add_mailbox(request.path_params["address"], **await request.json())
        return JSONResponse(_summary(mailbox))

    async def read_mailbox(self, request: Request) -> Response:
        """Tell all that lies in a mailbox."""
        return JSONResponse(_contents(self.ledger.mailbox(request.path_params["address"])))

    async def deliver_generated(self, request: Request) -> Response:
        """Deliver generated mail."""
        arguments = await request.json()
        made = self.ledger.deliver_generated(request.path_params["address"], **arguments)
        return JSONResponse({"result": [message.id for message in made]})

    async def operate(self, request: Request) -> Response:
        """Perform an operation of `Mailbox`."""
        mailbox = self.ledger.mailbox(request.path_params["address"])
        return _operate(mailbox, request.path_params["operation"], await request.json())

    async def patch_mailbox(self, request: Request) -> Response:
        """Change a mailbox's quirks or access."""
        mailbox = self.ledger.mailbox(request.path_params["address"])
        part = {"quirks": mailbox.quirks, "access": mailbox.access}[request.path_params["part"]]
        return _patch(part, await request.json())

    async def patch_limits(self, request: Request) -> Response:
        """Change the limits."""
        return _patch(self.limits, await request.json())

    async def patch_life(self, request: Request) -> Response:
        """Change how fast mail comes and goes."""
        return _patch(self.life, await request.json())

    async def read_id_types(self, _request: Request) -> Response:
        """Tell how many requests asked for immutable ids."""
        return JSONResponse(self.service.id_types)


def _operate(mailbox: Mailbox, operation: str, arguments: Mapping[str, Any]) -> Response:
    if operation not in OPERATIONS:
        return Response(status_code=NOT_FOUND)
    perform: Callable[..., Any] = getattr(mailbox, operation)
    try:
        made = perform(**_typed(arguments))
    except (KeyError, ValueError) as error:
        return JSONResponse({"error": str(error)}, NOT_FOUND)
    return JSONResponse({"result": made.id if isinstance(made, Folder | Message) else None})


def _patch(target: object, fields: Mapping[str, Any]) -> Response:
    for name, value in _typed(fields).items():
        if not hasattr(target, name):
            return JSONResponse({"error": f"no field {name!r}"}, NOT_FOUND)
        setattr(target, name, value)
    return Response(status_code=NO_CONTENT)


def _typed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values with the types that operations and fields take."""
    return {
        name: READERS[name](value) if name in READERS else value for name, value in given.items()
    }


def _summary(mailbox: Mailbox) -> dict[str, Any]:
    return {"messages": len(mailbox.messages), "folders": len(mailbox.folders)}


def _contents(mailbox: Mailbox) -> dict[str, Any]:
    return {
        "user_id": mailbox.user_id,
        "folders": [
            {
                "id": folder.id,
                "path": mailbox.path(folder),
                "well_known": folder.well_known,
                "is_hidden": folder.is_hidden,
                "messages": len(folder.members),
            }
            for folder in mailbox.folders.values()
        ],
        "messages": [_message(mailbox, message) for message in mailbox.messages.values()],
    }


def _message(mailbox: Mailbox, message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "folder_id": mailbox.folders[message.folder].id,
        "is_read": message.is_read,
        "is_draft": message.is_draft,
        "flag": message.flag,
        "categories": message.categories,
        "received_at": utc(message.received_at),
        "message_id": message.content.message_id,
        "conversation_id": conversation_of(message),
        "subject": message.content.subject,
        "sha256": sha256(message.content.raw).hexdigest(),
    }
