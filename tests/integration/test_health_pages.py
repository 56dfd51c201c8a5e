"""The health pages over a real socket, as a monitor sees them."""

import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest

from clock import SettableClock
from emailsync.api.auth import BURST_S, Gate
from emailsync.api.endpoints import Access, Table
from emailsync.api.health import HealthPages
from emailsync.api.server import bind, build_api, serve
from emailsync.api.sessions import Sessions
from emailsync.crypto import Secret
from emailsync.domain.access import Grant
from emailsync.domain.priority import Priority
from emailsync.domain.runs import Outcome, RunRecord, RunResult, SyncCounts
from emailsync.metrics import Metrics
from jobs import job_of

TOKENS = ("first-token", "second-token")
REQUESTS_PER_S = 2
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AUTHORISED = {"Authorization": "Bearer second-token"}


class Daemon:
    """What the pages ask for, settable by a test."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.ready = True
        self.fails = False
        self.clock = SettableClock()

    async def is_ready(self) -> bool:
        if self.fails:
            raise RuntimeError("secret detail")
        return self.ready

    @property
    def table(self) -> Table:
        return HealthPages(self.metrics, self.is_ready).table


async def no_other_token(_sha256: bytes) -> Grant | None:
    return None


async def no_tokens() -> Collection[bytes]:
    return ()


def gate(*tokens: str, clock: SettableClock) -> Gate:
    sessions = Sessions(clock, is_secure=False)
    known = [Secret(token) for token in tokens]
    return Gate(known, no_other_token, no_tokens, clock, sessions, requests_per_s=REQUESTS_PER_S)


@asynccontextmanager
async def client_of(daemon: Daemon) -> AsyncIterator[httpx.AsyncClient]:
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    api = build_api(daemon.table, gate(*TOKENS, clock=daemon.clock))
    async with anyio.create_task_group() as group:
        group.start_soon(serve, api, listener)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
        group.cancel_scope.cancel()


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


def finish_a_run(metrics: Metrics) -> None:
    job = job_of("acme", priority=Priority.NORMAL)
    record = RunRecord(
        started_at=NOW,
        duration=timedelta(milliseconds=1_500),
        attempt=1,
        outcome=Outcome(result=RunResult.DONE, next_sync_at=NOW, attempt=1),
        counts=SyncCounts(),
    )
    metrics.job_started(job)
    metrics.job_finished(job, record, at=NOW)


def assert_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["detail"]
    return body


async def test_anybody_may_ask_whether_it_is_alive_and_ready(daemon: Daemon) -> None:
    async with client_of(daemon) as client:
        for path in ("/health", "/health/ready"):
            response = await client.get(path)

            assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_not_ready_is_503_without_details(daemon: Daemon) -> None:
    async with client_of(daemon) as client:
        daemon.ready = False

        body = assert_problem(await client.get("/health/ready"), 503)

        assert body.keys() == {"type", "title", "status", "detail"}
        assert (await client.get("/health")).status_code == 200


async def test_every_page_but_the_open_ones_asks_for_a_token(daemon: Daemon) -> None:
    async with client_of(daemon) as client:
        guarded = [entry.route for entry in daemon.table if entry.access is not Access.OPEN]

        for path in guarded:
            response = await client.get(path)
            assert_problem(response, 401)
            assert response.headers["www-authenticate"] == "Bearer"
        assert guarded == ["/health/queues", "/health/metrics"]


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer", "Basic c2Vjb25k", "second-token", "Bearer second-token x"]
)
async def test_a_wrong_token_is_refused(daemon: Daemon, header: str) -> None:
    async with client_of(daemon) as client:
        assert_problem(await client.get("/health/queues", headers={"Authorization": header}), 401)
        assert_problem(await client.get("/health/queues?token=second-token"), 401)


async def test_a_token_that_asks_too_often_waits_and_nobody_else_does(daemon: Daemon) -> None:
    """Ten seconds' worth at once, then as it says; what is open and other tokens go on."""
    async with client_of(daemon) as client:
        for _ in range(BURST_S * REQUESTS_PER_S):
            assert (await client.get("/health/queues", headers=AUTHORISED)).status_code == 200

        refused = await client.get("/health/queues", headers=AUTHORISED)
        other = await client.get("/health/queues", headers={"Authorization": "Bearer first-token"})
        alive = await client.get("/health")
        daemon.clock.advance(timedelta(seconds=int(refused.headers["retry-after"])))
        after = await client.get("/health/queues", headers=AUTHORISED)

    advice = assert_problem(refused, 429)["detail"]
    assert all(words in advice for words in ("too often", "Retry-After", "requests_per_second"))
    assert (other.status_code, alive.status_code, after.status_code) == (200, 200, 200)


@pytest.mark.parametrize("token", TOKENS)
async def test_each_token_of_the_file_opens_the_pages(daemon: Daemon, token: str) -> None:
    async with client_of(daemon) as client:
        headers = {"Authorization": f"bearer {token}"}

        assert (await client.get("/health/queues", headers=headers)).status_code == 200
        assert (await client.get("/health/metrics", headers=headers)).status_code == 200


async def test_the_queues_page_is_an_array_with_one_object_a_queue(daemon: Daemon) -> None:
    async with client_of(daemon) as client:
        finish_a_run(daemon.metrics)

        queues = (await client.get("/health/queues", headers=AUTHORISED)).json()

        idle = {"completed": 0, "failed": 0, "averageDurationMs": 0, "lastDurationMs": 0}
        assert queues == [
            {"queue": "high", **idle},
            {
                "queue": "normal",
                "completed": 1,
                "failed": 0,
                "averageDurationMs": 1500,
                "lastDurationMs": 1500,
                "lastCompletedAt": "2026-01-02T03:04:05.000Z",
            },
            {"queue": "low", **idle},
        ]


async def test_the_metrics_page_is_prometheus_text(daemon: Daemon) -> None:
    async with client_of(daemon) as client:
        response = await client.get("/health/metrics", headers=AUTHORISED)

        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "# TYPE email_sync_queue_completed counter" in response.text


async def test_unknown_pages_and_methods_say_what_there_is(daemon: Daemon) -> None:
    async with client_of(daemon) as client:
        unknown = assert_problem(await client.get("/nothing"), 404)
        method = await client.post("/health")

        assert "/health/queues" in unknown["detail"]
        assert_problem(method, 405)
        assert "GET" in method.headers["allow"]


async def test_a_failure_of_ours_hides_its_cause(daemon: Daemon) -> None:
    async with client_of(daemon) as client:
        daemon.fails = True

        body = assert_problem(await client.get("/health/ready"), 500)

        assert "secret detail" not in json.dumps(body)


async def test_no_answer_is_cached_or_sniffed(daemon: Daemon) -> None:
    async with client_of(daemon) as client:
        headers = (await client.get("/health")).headers

        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


async def test_an_answer_under_way_is_finished_when_the_daemon_stops() -> None:
    asked, may_answer = anyio.Event(), anyio.Event()

    class Slow(Daemon):
        async def is_ready(self) -> bool:
            asked.set()
            await may_answer.wait()
            return True

    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/health/ready"
    answers = []

    async def ask() -> None:
        async with httpx.AsyncClient() as client:
            answers.append(await client.get(url))

    async with anyio.create_task_group() as asking, anyio.create_task_group() as serving:
        serving.start_soon(serve, build_api(Slow().table, gate(clock=SettableClock())), listener)
        asking.start_soon(ask)
        await asked.wait()
        serving.cancel_scope.cancel()
        may_answer.set()

    assert answers[0].status_code == 200
