"""The ledger for other processes, over HTTP under `/_control`.

* `GET /_control/mailboxes` -> `{address: {"messages": N, "history_id": H}}`
* `PUT /_control/mailboxes/{address}` `{"messages": N, "seed": S, "keep": false}` makes one
* `GET /_control/mailboxes/{address}` -> labels, and all messages with the SHA-256 of their bytes
* `POST /_control/mailboxes/{address}/{operation}` with the arguments of the operation of
  `GmailMailbox` as an object -> `{"result": ...}`; `raw` is base64, times are ISO 8601
* `PATCH /_control/behaviour` and `PATCH /_control/quota` change fields of theirs
* `PUT /_control/life` `{"changes_per_s": R}`
"""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emailsync.emulators.control import NO_CONTENT
from emailsync.emulators.faults import CONTROL_PREFIX
from emailsync.emulators.gmail.behaviour import Behaviour
from emailsync.emulators.gmail.ledger import GmailLedger, GmailMailbox, NoSuchItem
from emailsync.emulators.gmail.life import fill
from emailsync.emulators.gmail.quota import Quota
from emailsync.emulators.mail_life import MailLife

MAILBOXES: Final = f"{CONTROL_PREFIX}/mailboxes"
OPERATIONS: Final = frozenset(
    {
        *("deliver", "deliver_generated", "save_draft", "modify", "delete", "expire_history"),
        *("mark_read", "mark_unread", "star", "unstar", "archive", "trash", "untrash", "mark_spam"),
        *("create_label", "rename_label", "delete_label"),
    }
)
READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "raw": base64.b64decode,
    "at": datetime.fromisoformat,
    "internal_date": datetime.fromisoformat,
}
NOT_FOUND = 404

Endpoint = Callable[[Request], Awaitable[Response]]


def gmail_control_routes(
    ledger: GmailLedger, quota: Quota, behaviour: Behaviour, life: MailLife[GmailMailbox]
) -> Sequence[Route]:
    """Return the routes; see above."""

    async def list_mailboxes(_request: Request) -> Response:
        mailboxes = ledger.mailboxes.values()
        return JSONResponse({mailbox.address: _summary(mailbox) for mailbox in mailboxes})

    async def add_mailbox(request: Request) -> Response:
        order = await request.json()
        mailbox = ledger.add_mailbox(request.path_params["address"], seed=order.get("seed", 0))
        fill(mailbox, order.get("messages", 0), keep=order.get("keep", False))
        return JSONResponse(_summary(mailbox))

    async def read_mailbox(request: Request) -> Response:
        return JSONResponse(_contents(ledger.mailboxes[request.path_params["address"]]))

    async def operate(request: Request) -> Response:
        mailbox = ledger.mailboxes[request.path_params["address"]]
        operation = request.path_params["operation"]
        if operation not in OPERATIONS:
            return Response(status_code=NOT_FOUND)
        perform: Callable[..., Any] = getattr(mailbox, operation)
        try:
            return JSONResponse({"result": perform(**_arguments(await request.json()))})
        except NoSuchItem as error:
            return JSONResponse({"error": str(error)}, NOT_FOUND)

    return [
        Route(MAILBOXES, list_mailboxes, methods=["GET"]),
        Route(f"{MAILBOXES}/{{address}}", add_mailbox, methods=["PUT"]),
        Route(f"{MAILBOXES}/{{address}}", read_mailbox, methods=["GET"]),
        Route(f"{MAILBOXES}/{{address}}/{{operation}}", operate, methods=["POST"]),
        Route(f"{CONTROL_PREFIX}/behaviour", _patching(behaviour), methods=["PATCH"]),
        Route(f"{CONTROL_PREFIX}/quota", _patching(quota), methods=["PATCH"]),
        Route(f"{CONTROL_PREFIX}/life", _patching(life), methods=["PUT"]),
    ]


def _patching(target: Behaviour | Quota | MailLife[GmailMailbox]) -> Endpoint:
    """Return what sets fields of `target`, which has slots: unknown names fail."""

    async def patch(request: Request) -> Response:
        for name, value in (await request.json()).items():
            setattr(target, name, value)
        return Response(status_code=NO_CONTENT)

    return patch


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Return JSON arguments with the types that the operations take."""
    return {
        name: READERS[name](value) if name in READERS else value for name, value in given.items()
    }


def _summary(mailbox: GmailMailbox) -> dict[str, Any]:
    return {"messages": len(mailbox.messages), "history_id": mailbox.history.current_id}


def _contents(mailbox: GmailMailbox) -> dict[str, Any]:
    return _summary(mailbox) | {
        "labels": [
            {"id": label.id, "name": label.name, "is_system": label.is_system}
            for label in mailbox.labels.values()
        ],
        "contents": [
            {
                "id": message.id,
                "thread_id": message.thread_id,
                "labels": sorted(message.labels),
                "internal_date": message.internal_date,
                "sha256": sha256(message.raw).hexdigest(),
            }
            for message in mailbox.messages.values()
        ],
    }
