"""Many small GETs in one HTTP request: Graph's `$batch` (learn.microsoft.com/graph/json-batching).

Parts are answered, refused and throttled one by one. All of them run side by side, four at a time
in Outlook, or each waits for the one before: nothing between is allowed. Where four at once are
more than the mailbox's share they form a chain, and what a failure in it holds up is asked again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from typing import Any, Final

import orjson

from emailsync.domain.errors import ServerRefused, SyncError
from emailsync.providers.graph.client import GraphClient, Result, prefer
from emailsync.providers.graph.refusals import concerns_one
from emailsync.providers.http_messages import Answer

MAX_PARTS: Final = 20
PARALLEL_PARTS: Final = 4  #: what Outlook runs at once of one batch


@dataclass(frozen=True, slots=True)
class Part:
    """One GET of a batch."""

    target: str
    page_size: int | None = None


async def get_batched(client: GraphClient, parts: Sequence[Part]) -> Sequence[Result]:
    """Get all of these, 20 in a request; return answers and errors in the order of the parts.

    After an error that concerns more than one part, such as throttling, nothing more is sent:
    parts not asked by then have that error.

    Raises:
        SyncError: a whole batch failed.
    """
    results: dict[int, Result] = {}
    waiting = list(range(len(parts)))
    while waiting:
        size = min(MAX_PARTS, max(1, client.account.quota.largest))
        sent, later = waiting[:size], waiting[size:]
        answered = await _send(client, {at: parts[at] for at in sent})
        results |= answered
        waiting = [at for at in sent if at not in answered] + later
        stop = next((error for error in answered.values() if _stops(error)), None)
        if stop is not None:
            results |= dict.fromkeys(waiting, stop)
            break
    return [results[at] for at in range(len(parts))]


async def _send(client: GraphClient, parts: Mapping[int, Part]) -> Mapping[int, Result]:
    """Send one batch; return what was answered, without the parts that wait for a failed one."""
    is_chain = client.account.quota.parallel < PARALLEL_PARTS
    answer = await client.post_batch(
        _requests(parts, is_chain=is_chain),
        lanes=1 if is_chain else min(PARALLEL_PARTS, len(parts)),
    )
    numbers = {str(at): at for at in parts}
    answered: dict[int, Result] = {}
    for part in _answers(answer):
        name, status = part.get("id"), part.get("status")
        number = numbers.get(name) if isinstance(name, str) else None
        if number is None or not isinstance(status, int):
            continue
        if status == HTTPStatus.FAILED_DEPENDENCY and is_chain:
            continue
        answered[number] = _result(client, _part_answer(answer, part, status))
    if not answered:
        raise ServerRefused("Microsoft Graph answered none of the requests of a batch")
    return answered


def _requests(parts: Mapping[int, Part], *, is_chain: bool) -> Sequence[dict[str, Any]]:
    requests: list[dict[str, Any]] = [
        {
            "id": str(at),
            "method": "GET",
            "url": part.target,
            "headers": {"Prefer": prefer(part.page_size)},
        }
        for at, part in parts.items()
    ]
    if is_chain:
        for before, after in pairwise(requests):
            after["dependsOn"] = [before["id"]]
    return requests


def _answers(answer: Answer) -> Sequence[dict[str, Any]]:
    responses = answer.json().get("responses")
    if not isinstance(responses, list):
        raise ServerRefused("Microsoft Graph answered a batch without its responses")
    return [part for part in responses if isinstance(part, dict)]


def _part_answer(whole: Answer, part: dict[str, Any], status: int) -> Answer:
    """Return a part like an answer of its own; what tells the time is the whole's."""
    given = part.get("headers")
    headers = {"date": whole.headers.get("date", "")}
    if isinstance(given, dict):
        headers |= {str(name).lower(): str(value) for name, value in given.items()}
    return Answer(
        status=status,
        headers=headers | {"content-type": "application/json"},
        body=_written(part.get("body")),
        received_at=whole.received_at,
    )


def _written(body: object) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # half a surrogate pair in a subject, which Answer.json reads
        return json.dumps(body).encode()


def _result(client: GraphClient, answer: Answer) -> Result:
    return client.account.judge(answer) or answer


def _stops(result: Result) -> bool:
    return isinstance(result, SyncError) and not concerns_one(result)
