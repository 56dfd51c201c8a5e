"""The health pages: alive, ready, what the queues did, and the metrics.

Whoever asks without a token learns that the daemon runs and whether it is ready, nothing else.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emailsync.api.problems import problem
from emailsync.domain.priority import QueueName
from emailsync.metrics import Metrics

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def health_routes(metrics: Metrics, is_ready: Callable[[], Awaitable[bool]]) -> Sequence[Route]:
    """Return the routes under `/health`.

    Args:
        metrics: what the pages show.
        is_ready: tells whether a sync could run now: database, schema and key are there.
    """

    async def alive(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_request: Request) -> Response:
        if await is_ready():
            return JSONResponse({"status": "ok"})
        return problem(503, "Not ready to sync. The daemon's log tells why; ask again later.")

    async def queues(_request: Request) -> Response:
        return JSONResponse([_queue_page(metrics, queue) for queue in QueueName])

    async def exposition(_request: Request) -> Response:
        return Response(metrics.exposition(), media_type=METRICS_TYPE)

    return (
        Route("/health", alive),
        Route("/health/ready", ready),
        Route("/health/queues", queues),
        Route("/health/metrics", exposition),
    )


def _queue_page(metrics: Metrics, queue: QueueName) -> dict[str, Any]:
    stats = metrics.queue_stats(queue)
    page: dict[str, Any] = {
        "queue": queue.value,
        "completed": stats.completed,
        "failed": stats.failed,
        "averageDurationMs": round(stats.average_duration_ms or 0, 1),
        "lastDurationMs": round(stats.last_duration_ms or 0, 1),
    }
    if stats.last_completed_at is not None:
        page["lastCompletedAt"] = _iso(stats.last_completed_at)
    return page


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
