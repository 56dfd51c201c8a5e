"""From a request to its entry in the table, and from what the entry does to the answer.

The order is fixed: token, method, scope, tenant, path, query, body. Whoever may not ask learns
nothing of what is there, and nothing that was sent is looked at before that.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from urllib.parse import unquote

import anyio
from pydantic import BaseModel, RootModel, ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from emailsync.api.auth import Gate
from emailsync.api.endpoints import ANY_METHOD, Access, Call, Endpoint, Nothing, Sent, Table
from emailsync.api.problems import Refused, invalid, not_found
from emailsync.domain.access import Grant
from emailsync.domain.access import Scope as TokenScope

MAX_BODY_BYTES: Final = 256 * 1024  #: settings and secrets; no request carries mail
BODY_TIMEOUT_S: Final = 10.0
NOBODY: Final = Grant(TokenScope.METRICS)  #: whoever asks for what is open


def routes_of(table: Table, gate: Gate) -> Sequence[Route]:
    """Return a route for each path of the table.

    Raises:
        ValueError: two entries are for the same method of the same path.
    """
    by_path: dict[str, dict[str, Endpoint]] = {}
    for entry in table:
        there = by_path.setdefault(entry.route, {})
        if there.setdefault(entry.method, entry) is not entry:
            raise ValueError(f"{entry.method} {entry.route} is in the table twice")
    return [Route(path, Resource(entries, gate)) for path, entries in by_path.items()]


def reply(
    content: BaseModel, status: int = 200, *, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the JSON of a model."""
    return Response(
        content.model_dump_json(), status, headers=headers, media_type="application/json"
    )


class Resource:
    """Everything that one path answers."""

    def __init__(self, entries: Mapping[str, Endpoint], gate: Gate) -> None:
        self._entries = entries
        self._gate = gate
        self._is_open = {entry.access for entry in entries.values()} == {Access.OPEN}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what it is refused for is the application's to answer."""
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        entry = self._entries.get(method) or self._entries.get(ANY_METHOD)
        is_open = self._is_open if entry is None else entry.access is Access.OPEN
        grant = NOBODY if is_open else await self._gate.grant_of(request)
        if entry is None:
            raise HTTPException(405, headers={"Allow": ", ".join(_with_head(self._entries))})
        if not is_open and not entry.access.allows(grant.scope):
            raise Refused(403, f"A token of the scope {grant.scope} does not open this.")
        call = Call(
            request,
            grant,
            path=_path(entry, request, grant),
            query=_query(entry, request),
            body=await _body(entry, request),
        )
        response = await entry.handler(call)
        return _unless_unchanged(request, response) if method == "GET" else response


def _with_head(methods: Collection[str]) -> Sequence[str]:
    return sorted({*methods, "HEAD"} if "GET" in methods else methods)


def _path(entry: Endpoint, request: Request, grant: Grant) -> Sent:
    """Read the path; one that names nothing that could be there, or another tenant, is not found.

    The server hands the path on as it came, so a segment may hold an encoded slash.
    """
    values = {name: unquote(value) for name, value in request.path_params.items()}
    try:
        path = entry.path.model_validate(values)
    except ValidationError:
        raise not_found() from None
    tenant_id = getattr(path, "tenant_id", None)
    if tenant_id is not None and not grant.covers(tenant_id):
        raise not_found()
    return path


def _query(entry: Endpoint, request: Request) -> Sent:
    try:
        return entry.query.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise invalid(error, "query") from None


async def _body(entry: Endpoint, request: Request) -> BaseModel:
    if entry.body is Nothing:
        return Nothing()
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "Send JSON, with the header Content-Type: application/json.")
    try:
        with anyio.fail_after(BODY_TIMEOUT_S):
            raw = await _read(request)
    except (TimeoutError, ClientDisconnect):
        raise Refused(408, "The body did not come in time.") from None
    try:
        return entry.body.model_validate_json(raw, strict=True)
    except ValidationError as error:
        kind = 1 if issubclass(entry.body, RootModel) else 0  # its errors begin with one, no key
        raise invalid(error, "body", skip=kind) from None


async def _read(request: Request) -> bytes:
    read = bytearray()
    async for piece in request.stream():
        read += piece
        if len(read) > MAX_BODY_BYTES:
            raise Refused(
                413,
                f"A body may have {MAX_BODY_BYTES} bytes.",
                headers={"Connection": "close"},  # the rest is not read
            )
    return bytes(read)


def _unless_unchanged(request: Request, response: Response) -> Response:
    """Give an answer its ETag, and only that if the client has the rest (RFC 9110 s13.1.2)."""
    if response.status_code != 200:  # noqa: PLR2004 - OK
        return response
    if "etag" not in response.headers:
        if isinstance(response, StreamingResponse):
            return response
        digest = hashlib.blake2b(bytes(response.body), digest_size=16).hexdigest()
        response.headers["ETag"] = f'"{digest}"'
    if not knows(request.headers, response.headers["ETag"]):
        return response
    return Response(status_code=304, headers={"ETag": response.headers["ETag"]})


def knows(headers: Headers, etag: str) -> bool:
    """Tell whether the client says that it has the answer of this ETag."""
    given = [
        each.strip().removeprefix("W/") for each in headers.get("if-none-match", "").split(",")
    ]
    return "*" in given or etag in given
