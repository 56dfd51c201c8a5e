"""The emulated Microsoft Graph as an ASGI application: HTTP in and out, alone and in batches.

`GraphEmulator` holds the parts that tests look at and change: ledger, limits, faults and usage.
Other processes do so by the routes of `control.py`.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import anyio
import orjson
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from emailsync.emulators.control import control_routes
from emailsync.emulators.faults import Failure, Faults, emulated, faulty_response
from emailsync.emulators.graph.batch import parse_batch, run_batch
from emailsync.emulators.graph.control import GraphControl
from emailsync.emulators.graph.errors import GATEWAY_TIMEOUT, GraphError
from emailsync.emulators.graph.exchange import Answer, Request
from emailsync.emulators.graph.ledger import GraphLedger
from emailsync.emulators.graph.life import life_in
from emailsync.emulators.graph.service import GraphService, refusal
from emailsync.emulators.graph.throttling import Limits, new_usage
from emailsync.emulators.http_host import TokenAuthority

VERSION = "/v1.0"
GZIP_MIN_BYTES = 512  #: below, compressing gains nothing
GZIP_LEVEL = 1  #: the processor is shared with what is measured


class GraphEmulator:
    """One Graph: everything to look at, everything to change, and the application."""

    def __init__(
        self, tokens: TokenAuthority, *, limits: Limits | None = None, base_url: str | None = None
    ) -> None:
        self.ledger = GraphLedger()
        self.limits = Limits() if limits is None else limits
        self.faults = Faults()  #: are for parts of batches too, as "GET /v1.0/me/..."
        self.usage = new_usage()
        self.life = life_in(self.ledger)
        self.service = GraphService(self.ledger, tokens, self.limits, self.usage)
        self._base_url = base_url  #: of nextLinks and deltaLinks; None: as clients address us
        self._random = Random(1)
        self._app = emulated(self._routes(), self.faults, self.usage)

    @classmethod
    def from_order(cls, order: Mapping[str, Any], tokens: TokenAuthority) -> "GraphEmulator":
        """Return what a line of orders asks for.

        `{"mailboxes": [{"email": ..., "messages": N, "seed": S, "folders": [path, ...]}, ...],
        "limits": {...}, "changes_per_s": R}`; every key but the emails may be missing.
        """
        emulator = cls(tokens, limits=Limits(**order.get("limits", {})))
        for ordered in order.get("mailboxes", ()):
            details = {name: value for name, value in ordered.items() if name != "email"}
            emulator.ledger.add_mailbox(ordered["email"], **details)
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
        every = ["GET", "POST", "PATCH", "PUT", "DELETE"]
        return [
            Route(f"{VERSION}/$batch", self._answer_batch, methods=["POST"]),
            Route(f"{VERSION}/{{path:path}}", self._answer_single, methods=every),
            *control_routes(self.faults, self.usage),
            *GraphControl(self.ledger, self.limits, self.life, self.service).routes(),
        ]

    async def _answer_single(self, http: HttpRequest) -> Response:
        request = await self._read(http)
        return _response(request, await self.service.answer(request))

    async def _answer_batch(self, http: HttpRequest) -> Response:
        request = await self._read(http)
        try:
            self.service.owner_of(request)
            parts = parse_batch(request)
        except GraphError as error:
            return _response(request, refusal(error, request))
        self.usage.calls["batch"] += 1
        body = await run_batch(
            parts, self._answer_part, parallel=self.limits.batch_parallel, order=self._random
        )
        return _response(request, Answer(body=body))

    async def _answer_part(self, request: Request) -> Answer:
        """Answer a part of a batch, with whatever fault is for it."""
        query = "&".join(f"{name}={value}" for name, value in request.query.items())
        call = f"{request.method} {VERSION}{request.path}{'?' * bool(query)}{query}"
        fault = self.faults.of(call)
        if fault is not None:
            await anyio.sleep(fault.delay_s)
        if fault is None or fault.failure is Failure.NONE:
            answer = await self.service.answer(request)
        elif fault.failure in {Failure.CUT, Failure.TRUNCATED}:  # by the service behind Graph
            error = GraphError(GATEWAY_TIMEOUT, "UnknownError", "The gateway timed out.")
            answer = refusal(error, request)
        else:
            faulty = faulty_response(fault)
            body, content_type = bytes(faulty.body), faulty.headers["content-type"]
            answer = Answer(
                status=faulty.status_code,
                body=orjson.loads(body) if body and "json" in content_type else body,
                headers=dict(fault.headers),
                content_type=content_type,
            )
        self.usage.statuses[answer.status] += 1
        return answer

    async def _read(self, http: HttpRequest) -> Request:
        body = await http.body()
        request = Request(
            method=http.method,
            path=http.scope["raw_path"].decode("latin-1").removeprefix(VERSION),
            query=dict(parse_qsl(http.url.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in http.headers.items()},
            body=None,
            base_url=self._base_url or str(http.base_url).rstrip("/"),
        )
        try:
            return replace(request, body=orjson.loads(body)) if body else request
        except orjson.JSONDecodeError:
            return request


def _response(request: Request, answer: Answer) -> Response:
    headers = {"request-id": str(uuid4()), **answer.headers}
    headers["client-request-id"] = request.headers.get("client-request-id", headers["request-id"])
    body, content_type = answer.body, answer.content_type
    if isinstance(body, dict):
        body = orjson.dumps(body)
        content_type += ";odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false"
        content_type += ";charset=utf-8"
    accepts_gzip = "gzip" in request.headers.get("accept-encoding", "")
    if accepts_gzip and len(body) >= GZIP_MIN_BYTES:
        body = zlib.compress(body, GZIP_LEVEL, zlib.MAX_WBITS | 16)
        headers["Content-Encoding"] = "gzip"
    return Response(body, answer.status, {**headers, "Content-Type": content_type})
