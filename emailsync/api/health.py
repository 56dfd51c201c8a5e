"""The health pages: alive, ready, what the queues did, and the metrics.

Whoever asks without a token learns that the daemon runs and whether it is ready, nothing else.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pydantic import BaseModel, RootModel
from starlette.responses import Response

from emailsync.api.dispatch import reply
from emailsync.api.endpoints import Access, Endpoint, PlainCall, Table
from emailsync.api.problems import MEDIA_TYPE, Refused
from emailsync.domain.priority import QueueName
from emailsync.metrics import Metrics

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """It is well."""

    status: str = "ok"


class QueuePage(BaseModel):
    """What one queue did since the daemon started; the names are the ones that were asked for."""

    queue: QueueName
    completed: int
    failed: int
    averageDurationMs: float  # noqa: N815 - part of the contract
    lastDurationMs: float  # noqa: N815
    lastCompletedAt: str | None = None  # noqa: N815


class QueuePages(RootModel[list[QueuePage]]):
    """All queues."""


class HealthPages:
    """What a monitor asks for.

    Args:
        metrics: what the pages show.
        is_ready: tells whether a sync could run now: database, schema and key are there.
    """

    def __init__(self, metrics: Metrics, is_ready: Callable[[], Awaitable[bool]]) -> None:
        self._metrics = metrics
        self._is_ready = is_ready

    @property
    def table(self) -> Table:
        """The entries under `/health`."""
        return (
            Endpoint(
                "GET",
                "/health",
                Access.OPEN,
                "Whether the daemon is alive",
                self.alive,
                {200: Health},
            ),
            Endpoint(
                "GET",
                "/health/ready",
                Access.OPEN,
                "Whether a sync could run now",
                self.ready,
                {200: Health, 503: MEDIA_TYPE},
            ),
            Endpoint(
                "GET",
                "/health/queues",
                Access.METRICS,
                "What each queue completed and failed",
                self.queues,
                {200: QueuePages},
            ),
            Endpoint(
                "GET",
                "/health/metrics",
                Access.METRICS,
                "The metrics, for Prometheus",
                self.exposition,
                {200: "text/plain"},
            ),
        )

    async def alive(self, call: PlainCall) -> Response:
        """Answer."""
        del call
        return reply(Health())

    async def ready(self, call: PlainCall) -> Response:
        """Answer when a sync could run."""
        del call
        if await self._is_ready():
            return reply(Health())
        raise Refused(503, "Not ready to sync. The daemon's log tells why; ask again later.")

    async def queues(self, call: PlainCall) -> Response:
        """Return one object a queue."""
        del call
        pages = QueuePages([self._queue_page(queue) for queue in QueueName])
        return Response(pages.model_dump_json(exclude_none=True), media_type="application/json")

    async def exposition(self, call: PlainCall) -> Response:
        """Return the text that Prometheus reads."""
        del call
        return Response(self._metrics.exposition(), media_type=METRICS_TYPE)

    def _queue_page(self, queue: QueueName) -> QueuePage:
        stats = self._metrics.queue_stats(queue)
        ended = stats.last_completed_at
        return QueuePage(
            queue=queue,
            completed=stats.completed,
            failed=stats.failed,
            averageDurationMs=round(stats.average_duration_ms or 0, 1),
            lastDurationMs=round(stats.last_duration_ms or 0, 1),
            lastCompletedAt=None if ended is None else _iso(ended),
        )


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
