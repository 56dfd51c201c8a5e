"""JSON batches: up to 20 requests in one, each let in, counted and refused by itself.

Outlook runs up to four parts of a batch at a time (learn.microsoft.com/graph/throttling-limits);
dependencies make it one after the other (learn.microsoft.com/graph/json-batching, 2025-02).
"""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import parse_qsl

import anyio

from emailsync.emulators.graph.errors import FAILED_DEPENDENCY, bad_request
from emailsync.emulators.graph.exchange import Answer, Request

MAX_PARTS = 20
FIRST_FAILURE = 400

Send = Callable[[Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Part:
    """One request of a batch."""

    id: str
    request: Request
    depends_on: Sequence[str]


def parse_batch(batch: Request) -> Sequence[Part]:
    """Return the parts.

    Raises:
        GraphError: 400 for a batch that is not allowed as a whole.
    """
    rows = batch.body.get("requests") if isinstance(batch.body, dict) else None
    if not isinstance(rows, list) or not rows:
        raise bad_request("Invalid batch payload format.")
    if len(rows) > MAX_PARTS:
        raise bad_request(
            f"Number of batch request steps exceeds the maximum value of {MAX_PARTS}."
        )
    parts = [_part(row, batch) for row in rows]
    if len({part.id for part in parts}) != len(parts):
        raise bad_request("Request id must be unique.")
    _check_dependencies(parts)
    return parts


def _part(row: Mapping[str, Any], batch: Request) -> Part:
    if not isinstance(row, dict) or not all(row.get(key) for key in ("id", "method", "url")):
        raise bad_request("A request of the batch has no id, method or url.")
    if "://" in row["url"]:
        raise bad_request(f"The url of request '{row['id']}' is not relative.")
    path, _, query = row["url"].partition("?")
    headers = {name.lower(): value for name, value in (row.get("headers") or {}).items()}
    request = Request(
        method=row["method"].upper(),
        path="/" + path.lstrip("/"),
        query=dict(parse_qsl(query, keep_blank_values=True)),
        headers={"authorization": batch.headers.get("authorization", ""), **headers},
        body=row.get("body"),
        base_url=batch.base_url,
    )
    return Part(str(row["id"]), request, row.get("dependsOn") or ())


def _check_dependencies(parts: Sequence[Part]) -> None:
    """Allow what is either all parallel or all sequential, or waits for one and the same part."""
    known: set[str] = set()
    for part in parts:
        if not set(part.depends_on) <= known:
            raise bad_request(f"Request '{part.id}' depends on one that does not come before it.")
        known.add(part.id)
    chain = [list(part.depends_on) for part in parts]
    serial = [[], *([part.id] for part in parts[:-1])]
    stated = [dependency for dependency in chain if dependency]
    if chain != serial and any(dependency != stated[0] for dependency in stated):
        raise bad_request("A batch must be either fully sequential or fully parallel.")


async def run_batch(
    parts: Sequence[Part], send: Send, *, parallel: int, order: Random
) -> dict[str, Any]:
    """Return the body of the answer; the parts' answers come in any order."""
    done = {part.id: anyio.Event() for part in parts}
    answers: dict[str, Answer] = {}
    places = anyio.Semaphore(parallel)

    async def run(part: Part) -> None:
        for dependency in part.depends_on:
            await done[dependency].wait()
        failed = any(answers[name].status >= FIRST_FAILURE for name in part.depends_on)
        if failed:
            answers[part.id] = _not_run()
        else:
            async with places:
                answers[part.id] = await send(part.request)
        done[part.id].set()

    async with anyio.create_task_group() as group:
        for part in parts:
            group.start_soon(run, part)
    responses = [_response(name, answer) for name, answer in answers.items()]
    order.shuffle(responses)
    return {"responses": responses}


def _not_run() -> Answer:
    error = {"code": "FailedDependency", "message": "A request that this one depends on failed."}
    return Answer(status=FAILED_DEPENDENCY, body={"error": error})


def _response(name: str, answer: Answer) -> dict[str, Any]:
    """Return a part's answer; what is no JSON comes in base64."""
    body: Any = answer.body
    if isinstance(body, bytes):
        body = base64.b64encode(body).decode()
    headers = {"Content-Type": answer.content_type, **answer.headers}
    return {"id": name, "status": answer.status, "headers": headers, "body": body}
