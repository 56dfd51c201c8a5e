"""What goes wrong with an emulated provider's answers, on order, and how long they take.

`emulated` puts it in front of the provider's routes; counting the requests happens there too.
"""

import random
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emailsync.emulators.http_host import TRANSPORT, ended
from emailsync.emulators.usage import Usage

CONTROL_PREFIX = "/_control"
BOMB_BYTES = 1 << 28  #: what a gzip bomb decodes to; on the wire it is a thousandth
SIGN_IN_PAGE = "<!DOCTYPE html><html><body>Sign in to the network</body></html>"


class Failure(StrEnum):
    """What becomes of a call."""

    ANSWER = "answer"  #: `status`, `headers` and `body` of the fault, and nothing was done
    CUT = "cut"  #: the connection is reset without an answer
    TRUNCATED = "truncated"  #: the true answer ends in its middle
    HTML = "html"  #: 200 with a page for people, as captive portals answer
    GZIP_BOMB = "gzip_bomb"  #: 200 with a small body that decodes to `BOMB_BYTES`
    NONE = "none"  #: the true answer; only the fault's delay happens


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule: which calls it is for, and what becomes of them."""

    on: str = ""  #: a regular expression to be found in "METHOD /path?query"
    calls: Collection[int] | None = None  #: numbers, from 1, of the calls that match; None: all
    probability: float = 1.0
    failure: Failure = Failure.ANSWER
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    delay_s: float = 0.0  #: before anything else

    @classmethod
    def from_json(cls, rule: Mapping[str, Any]) -> "Fault":
        """Return the rule; its keys are the fields' names."""
        return cls(**{**rule, "failure": Failure(rule.get("failure", Failure.ANSWER))})


class Faults:
    """The rules of one provider; without any, it works."""

    def __init__(self, *, seed: int = 1) -> None:
        self.latency_s = 0.0  #: of every request: the simulated round trip
        self._random = random.Random(seed)
        self._rules: list[tuple[Fault, re.Pattern[str]]] = []
        self._matches: list[int] = []  #: calls that each rule has met

    def add(self, *faults: Fault) -> None:
        """Add rules; of those that are for a call, the first one happens."""
        for fault in faults:
            self._rules.append((fault, re.compile(fault.on)))
            self._matches.append(0)

    def clear(self) -> None:
        """Let everything work again; the latency stays."""
        self._rules.clear()
        self._matches.clear()

    def of(self, call: str) -> Fault | None:
        """Return what happens to this call, which is counted by asking: "METHOD /path?query"."""
        happens: Fault | None = None
        for at, (fault, pattern) in enumerate(self._rules):
            if pattern.search(call):
                self._matches[at] += 1
                if happens is None and self._is_for(fault, self._matches[at]):
                    happens = fault
        return happens

    def _is_for(self, fault: Fault, number: int) -> bool:
        if fault.calls is not None and number not in fault.calls:
            return False
        return fault.probability >= 1 or self._random.random() < fault.probability


def emulated(routes: Sequence[BaseRoute], faults: Faults, usage: Usage) -> ASGIApp:
    """Return the provider's application: requests are counted and delayed, and some go wrong.

    Calls under `/_control` are for the tests' own hands: neither happens to them.
    """
    return _Emulated(routes, faults, usage)


class _Emulated:
    def __init__(self, routes: Sequence[BaseRoute], faults: Faults, usage: Usage) -> None:
        self._app = Starlette(routes=routes)
        self._routes = [route for route in routes if isinstance(route, Route)]
        self._faults = faults
        self._usage = usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or fail as ordered."""
        if scope["path"].startswith(CONTROL_PREFIX):
            await self._app(scope, receive, send)
            return
        self._usage.requests[self._route(scope)] += 1
        if self._faults.latency_s:
            await anyio.sleep(self._faults.latency_s)
        query = scope["query_string"].decode("latin-1")
        fault = self._faults.of(f"{scope['method']} {scope['path']}{'?' * bool(query)}{query}")

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._usage.statuses[message["status"]] += 1
            await send(message)

        if fault is None:
            await self._app(scope, receive, counted_send)
        else:
            await self._fail(fault, scope, receive, counted_send)

    def _route(self, scope: Scope) -> str:
        path = scope["path"]
        for route in self._routes:
            if route.matches(scope)[0] is Match.FULL:
                path = route.path
                break
        return f"{scope['method']} {path}"

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(fault.delay_s)
        if fault.failure is Failure.NONE:
            await self._app(scope, receive, send)
        elif fault.failure is Failure.CUT:
            scope["extensions"][TRANSPORT].abort()
            await ended(receive)
        elif fault.failure is Failure.TRUNCATED:
            await self._truncate(scope, receive, send)
        else:
            await faulty_response(fault)(scope, receive, send)

    async def _truncate(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_half(message: Message) -> None:
            if message["type"] == "http.response.body":
                body = message["body"]
                message = {**message, "body": body[: len(body) // 2], "more_body": True}
            await send(message)

        await self._app(scope, receive, send_half)
        scope["extensions"][TRANSPORT].close()  # what was sent so far arrives
        await ended(receive)


def faulty_response(fault: Fault) -> Response:
    """Return the answer of a fault that is one."""
    if fault.failure is Failure.HTML:
        return Response(SIGN_IN_PAGE, media_type="text/html")
    if fault.failure is Failure.GZIP_BOMB:
        headers = {"content-encoding": "gzip", "content-type": "application/json"}
        return Response(_gzip_bomb(), headers=headers)
    headers = {"content-type": "application/json; charset=UTF-8", **fault.headers}
    return Response(fault.body, fault.status, headers)


@lru_cache(maxsize=1)
def _gzip_bomb() -> bytes:
    gzip = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    spaces = b" " * (1 << 20)
    pieces = [gzip.compress(spaces) for _ in range(BOMB_BYTES // len(spaces))]
    return b"".join([*pieces, gzip.compress(b"{}"), gzip.flush()])
