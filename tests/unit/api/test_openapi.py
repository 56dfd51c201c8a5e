"""The document is made of the table, and the table cannot contradict itself."""

import json
from collections.abc import Collection
from typing import Any

import pytest
from starlette.responses import Response

from clock import SettableClock
from emailsync.api.auth import Gate
from emailsync.api.dispatch import routes_of
from emailsync.api.endpoints import Access, Call, Endpoint, Nothing, PlainCall, Sent
from emailsync.api.openapi import document, statuses
from emailsync.api.problems import MEDIA_TYPE
from emailsync.api.sessions import Sessions
from emailsync.domain.access import Grant


class ThingPath(Sent):
    thing_id: int


class ThingBody(Sent):
    colour: str
    size: int | None = None


class ThingQuery(Sent):
    limit: int | None = None


async def show(call: Call[ThingPath, ThingQuery, ThingBody]) -> Response:
    """Answer."""
    del call
    return Response()


async def alive(call: PlainCall) -> Response:
    """Answer."""
    del call
    return Response()


THING = Endpoint("PUT", "/things/{thing_id}", Access.TENANT, "A thing", show, {200: "text/plain"})
ALIVE = Endpoint("GET", "/alive", Access.OPEN, "Alive", alive, {200: None})


def operation(entry: Endpoint, method: str) -> dict[str, Any]:
    described = json.loads(json.dumps(document([entry])))
    found: dict[str, Any] = described["paths"][entry.route][method]
    return found


def test_what_is_sent_is_in_the_document() -> None:
    thing = operation(THING, "put")

    path, query = thing["parameters"]
    assert (path["name"], path["in"], path["required"]) == ("thing_id", "path", True)
    assert (query["name"], query["required"]) == ("limit", False)
    assert query["schema"]["type"] == "integer"
    schema = thing["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/ThingBody"}


def test_the_errors_that_an_entry_answers_follow_from_it() -> None:
    assert statuses(THING) == [200, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503]
    assert statuses(ALIVE) == [200, 304, 422, 500, 503]
    refusal = operation(THING, "put")["responses"]["403"]["content"]
    assert refusal == {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def test_only_what_is_open_asks_for_no_token() -> None:
    assert operation(THING, "put")["security"] == [{"bearer": []}]
    assert "security" not in operation(ALIVE, "get")


def test_one_method_of_one_path_has_one_entry() -> None:
    async def nobody(_sha256: bytes) -> Grant | None:
        return None

    async def nothing() -> Collection[bytes]:
        return ()

    clock = SettableClock()
    gate = Gate([], nobody, nothing, clock, Sessions(clock, is_secure=False), requests_per_s=1)
    again = Endpoint("GET", "/alive", Access.ADMIN, "Alive", alive, {200: None})

    with pytest.raises(ValueError, match="twice"):
        routes_of([ALIVE, again], gate)


def test_a_handler_says_what_is_sent_to_it() -> None:
    assert (THING.path, THING.query, THING.body) == (ThingPath, ThingQuery, ThingBody)
    assert (ALIVE.path, ALIVE.query, ALIVE.body) == (Nothing, Nothing, Nothing)
