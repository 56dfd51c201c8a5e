"""The emulated Gmail as an ASGI application: HTTP in and out, alone and in batches.

`GmailEmulator` holds the parts that tests look at and change: ledger, quota, behaviour, faults and
usage. Other processes do so by the routes of `control.py`.
"""

import zlib
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from emailsync.emulators.control import control_routes
from emailsync.emulators.faults import Faults, emulated
from emailsync.emulators.gmail.api import GmailApi
from emailsync.emulators.gmail.batch import (
    PATHS,
    BadBatch,
    Part,
    bearer_token,
    parse_batch,
    read_call,
    render_batch,
)
from emailsync.emulators.gmail.behaviour import Behaviour
from emailsync.emulators.gmail.control import gmail_control_routes
from emailsync.emulators.gmail.errors import invalid_argument, invalid_credentials
from emailsync.emulators.gmail.exchange import Reply
from emailsync.emulators.gmail.ledger import GmailLedger
from emailsync.emulators.gmail.life import fill, happen
from emailsync.emulators.gmail.methods import METHODS, ROOT
from emailsync.emulators.gmail.quota import Quota
from emailsync.emulators.http_host import TokenAuthority
from emailsync.emulators.mail_life import MailLife
from emailsync.emulators.usage import Usage

GZIP_LEVEL = 1
GZIP_MIN_BYTES = 512  #: below, compressing gains nothing


class GmailEmulator:
    """One Gmail: everything to look at, everything to change, and the application."""

    def __init__(self, tokens: TokenAuthority, *, quota: Quota | None = None) -> None:
        self.ledger = GmailLedger()
        self.quota = Quota() if quota is None else quota
        self.behaviour = Behaviour()
        self.faults = Faults()
        self.usage = Usage()
        self.life = MailLife(self.ledger.mailboxes, happen)
        self._tokens = tokens
        self._api = GmailApi(
            self.ledger, tokens, self.quota, self.behaviour, self.faults, self.usage
        )
        self._random = Random(1)
        self._app = emulated(self._routes(), self.faults, self.usage)

    @classmethod
    def from_order(cls, order: Mapping[str, Any], tokens: TokenAuthority) -> "GmailEmulator":
        """Return what a line of orders asks for.

        `{"mailboxes": [{"email": ..., "messages": N, "seed": S}, ...], "quota": "2026" | "classic"
        | "off", "behaviour": {...}, "changes_per_s": R}`; every key but the emails may be missing.
        """
        emulator = cls(tokens, quota=Quota.preset(order.get("quota", "2026")))
        for name, value in order.get("behaviour", {}).items():
            setattr(emulator.behaviour, name, value)
        for ordered in order.get("mailboxes", ()):
            mailbox = emulator.ledger.add_mailbox(ordered["email"], seed=ordered.get("seed", 0))
            fill(mailbox, ordered.get("messages", 0), keep=ordered.get("keep", False))
        emulator.life.changes_per_s = order.get("changes_per_s", 0.0)
        return emulator

    @property
    def app(self) -> ASGIApp:
        """Return the application."""
        return self._app

    async def live(self) -> None:
        """Let things happen in the mailboxes, at the rate of `life`, until cancelled."""
        await self.life.run()

    def _routes(self) -> Sequence[Route]:
        return [
            *(Route(ROOT + method.path, self._answer_call, methods=["GET"]) for method in METHODS),
            *(Route(path, self._answer_batch, methods=["POST"]) for path in PATHS),
            *control_routes(self.faults, self.usage),
            *gmail_control_routes(self.ledger, self.quota, self.behaviour, self.life),
        ]

    async def _answer_call(self, request: Request) -> Response:
        target = request.url.path + "?" * bool(request.url.query) + request.url.query
        call = read_call(request.method, target, bearer_token(request.headers.get("authorization")))
        (reply,) = await self._api.answer([call])
        return self._response(request, reply, compressed=self.behaviour.gzip)

    async def _answer_batch(self, request: Request) -> Response:
        token = bearer_token(request.headers.get("authorization"))
        content_type = request.headers.get("content-type", "")
        refuses = token is None or self._tokens.mailbox_of(token) is None
        if refuses and not self.behaviour.batch_parts_refuse_tokens:
            return self._response(request, invalid_credentials(), compressed=False)
        try:
            parts = parse_batch(content_type, await request.body(), token)
        except BadBatch as bad:
            return self._response(request, invalid_argument(str(bad)), compressed=False)
        replies = await self._answer_parts(parts)
        media_type, body = render_batch(parts, replies, self._random)
        reply = Reply(200, body, {"Content-Type": media_type})
        return self._response(request, reply, compressed=self.behaviour.gzip_batches)

    async def _answer_parts(self, parts: Sequence[Part]) -> Sequence[Reply]:
        faulty = [self._api.faulty_part(part.call) for part in parts]
        works = [part.call for part, fault in zip(parts, faulty, strict=True) if fault is None]
        true_replies = iter(await self._api.answer(works))
        replies = [next(true_replies) if fault is None else fault for fault in faulty]
        self.usage.statuses.update(reply.status for reply in replies)
        return replies

    def _response(self, request: Request, reply: Reply, *, compressed: bool) -> Response:
        headers = {**reply.headers, "Vary": "Origin, X-Origin, Referer"}
        body = reply.body
        accepted = request.headers.get("accept-encoding", "")
        if compressed and "gzip" in accepted and len(body) >= GZIP_MIN_BYTES:
            body = zlib.compress(body, GZIP_LEVEL, zlib.MAX_WBITS | 16)
            headers["Content-Encoding"] = "gzip"
        return Response(body, reply.status, headers)
