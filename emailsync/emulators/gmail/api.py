"""From a call to its answer: whose it is, whether it is let in now, and which method answers it.

Knows neither sockets nor how calls are packed.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import anyio
import orjson

from emailsync.emulators.faults import Failure, Faults, faulty_response
from emailsync.emulators.gmail.behaviour import Behaviour
from emailsync.emulators.gmail.errors import (
    delegation_denied,
    invalid_argument,
    invalid_credentials,
    mail_service_not_enabled,
    not_found,
    too_many_concurrent_requests,
)
from emailsync.emulators.gmail.exchange import OK, Call, Refused, Reply
from emailsync.emulators.gmail.fields import BadSelection, parse_selection, select
from emailsync.emulators.gmail.ledger import GmailLedger, GmailMailbox
from emailsync.emulators.gmail.methods import METHODS, Answer, Method, Request
from emailsync.emulators.gmail.quota import Quota
from emailsync.emulators.http_host import TokenAuthority
from emailsync.emulators.usage import Usage

ME = "me"
LENGTH = "content-length"  #: the batch gives every part its own
_PATTERNS = [(method.pattern, method) for method in METHODS]


@dataclass(slots=True)
class GmailApi:
    """The API over one ledger."""

    ledger: GmailLedger
    tokens: TokenAuthority
    quota: Quota
    behaviour: Behaviour
    faults: Faults
    usage: Usage

    async def answer(self, calls: Sequence[Call]) -> Sequence[Reply]:
        """Answer calls that have come at the same time: a single one, or a whole batch."""
        with ExitStack() as under_way:
            entered = [self._enter(call, under_way) for call in calls]
            if self.behaviour.service_s:
                await anyio.sleep(self.behaviour.service_s)
            return [
                self._serve(call, mailbox) if isinstance(mailbox, GmailMailbox) else mailbox
                for call, mailbox in zip(calls, entered, strict=True)
            ]

    def faulty_part(self, call: Call) -> Reply | None:
        """Return how a part of a batch fails on order: by an answer, whatever else is for it."""
        fault = self.faults.of(f"{call.method} {call.target}")
        if fault is None or fault.failure not in {Failure.ANSWER, Failure.HTML}:
            return None
        response = faulty_response(fault)
        headers = {name: value for name, value in response.headers.items() if name != LENGTH}
        return Reply(response.status_code, bytes(response.body), headers)

    def _enter(self, call: Call, under_way: ExitStack) -> GmailMailbox | Reply:
        """Return the caller's mailbox, in which the call is under way from now on."""
        address = None if call.token is None else self.tokens.mailbox_of(call.token)
        if address is None:
            return invalid_credentials()
        mailbox = self.ledger.mailboxes.get(address)
        if mailbox is None:
            return mail_service_not_enabled()
        wall = self.behaviour.concurrent_calls
        if wall is not None and self.usage.running(address) >= wall:
            return too_many_concurrent_requests()
        under_way.enter_context(self.usage.call_under_way(address))
        return mailbox

    def _serve(self, call: Call, mailbox: GmailMailbox) -> Reply:
        for pattern, method in _PATTERNS:
            match = pattern.fullmatch(call.path)
            if match is not None and call.method == "GET":
                ids = match.groupdict()
                return self._run(method, Request(mailbox, call, ids, self.behaviour))
        return not_found()

    def _run(self, method: Method, request: Request) -> Reply:
        self.usage.calls[method.name] += 1
        address = request.mailbox.address
        if request.ids["user"].lower() not in {ME, address.lower()}:
            return delegation_denied(request.ids["user"])
        refusal = self.quota.spend(self.usage, address, method.name)
        if refusal is not None:
            return refusal
        try:
            answer = method.answer(request)
            return Reply(OK, _encoded(answer, request.call.first("fields")))
        except Refused as refused:
            return refused.reply


def _encoded(answer: Answer, fields: str | None) -> bytes:
    if fields is None:
        return answer if isinstance(answer, bytes) else orjson.dumps(answer)
    try:
        selection = parse_selection(fields)
    except BadSelection:
        raise Refused(invalid_argument(f"Invalid field selection {fields}")) from None
    value = orjson.loads(answer) if isinstance(answer, bytes) else answer
    return orjson.dumps(select(value, selection))
