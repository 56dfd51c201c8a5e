"""Everything at one moment, and the last runs of everybody: what an operator looks at first.

A tenant's token is shown its tenant's accounts, and nothing of the daemon.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Final

from pydantic import Field
from starlette.responses import Response

from emailsync.api.backend import Reach
from emailsync.api.dispatch import reply
from emailsync.api.endpoints import Access, Call, Endpoint, Nothing, PlainCall, Sent, Table
from emailsync.api.fields import Limit
from emailsync.api.overview_models import (
    DaemonLoad,
    Overview,
    Pace,
    ProviderLoad,
    QueueLoad,
    RecentRun,
    RecentRuns,
    Standing,
)
from emailsync.api.provider_models import PRIORITY_NAMES
from emailsync.config import LiveSettings
from emailsync.domain.access import Scope
from emailsync.domain.accounts import ProviderType
from emailsync.domain.freshness import Activity
from emailsync.domain.priority import QueueName, queue_of
from emailsync.metrics import Metrics
from emailsync.ports import Clock
from emailsync.store import monitor

DAY_MINUTES: Final = 24 * 60
IN_LINE: Final = frozenset({Activity.DUE, Activity.SYNCING, Activity.STALLED})


class RunsQuery(Sent):
    """Which runs are listed."""

    minutes: Annotated[int, Field(ge=1, le=DAY_MINUTES, description="How far back.")] = 60
    failed: Annotated[bool, Field(description="Only runs that failed.")] = False
    limit: Limit = 50


class Overviews:
    """The resources `/overview` and `/runs`."""

    def __init__(
        self, reach: Reach, settings: LiveSettings, metrics: Metrics, clock: Clock
    ) -> None:
        self._reach = reach
        self._settings = settings
        self._metrics = metrics
        self._clock = clock

    @property
    def table(self) -> Table:
        """The entries."""
        return (
            Endpoint("GET", "/overview", Access.TENANT, "Everything at this moment", self.show,
                     {200: Overview}),
            Endpoint("GET", "/runs", Access.TENANT, "The last syncs of all accounts", self.runs,
                     {200: RecentRuns}),
        )  # fmt: skip

    async def show(self, call: PlainCall) -> Response:
        """Return everything at this moment."""
        picture = await self._reach().monitor.picture(self._settings.current, call.grant.tenant_id)
        of_all = call.grant.scope is Scope.ADMIN
        return reply(
            Overview(
                now=self._clock.now(),
                standings=[_standing(each) for each in picture.standings],
                mail=picture.mail,
                pace=Pace(span_s=monitor.SPAN_S, spans=list(picture.pace)),
                circuits=list(picture.circuits),
                daemon=self._daemon(picture.standings) if of_all else None,
            )
        )

    async def runs(self, call: Call[Nothing, RunsQuery, Nothing]) -> Response:
        """Return the last runs."""
        asked = call.query
        found = await self._reach().monitor.runs(
            call.grant.tenant_id, minutes=asked.minutes, failed=asked.failed, limit=asked.limit
        )
        return reply(RecentRuns(items=[RecentRun.of_account(run) for run in found]))

    def _daemon(self, standings: Sequence[monitor.Standing]) -> DaemonLoad:
        return DaemonLoad(
            instances=self._settings.instances,
            queues=[self._queue(queue, standings) for queue in QueueName],
            providers=[self._provider(kind) for kind in ProviderType],
        )

    def _provider(self, kind: ProviderType) -> ProviderLoad:
        return ProviderLoad(
            provider_type=kind,
            running=self._metrics.running(kind),
            concurrent=self._settings.current.limits.of(kind).concurrent,
            quotas=list(self._reach().openers[kind].quota_levels()),
        )

    def _queue(self, queue: QueueName, standings: Sequence[monitor.Standing]) -> QueueLoad:
        stats = self._metrics.queue_stats(queue)
        waits_s = (
            each.due_for_s
            for each in standings
            if each.activity in IN_LINE and queue_of(each.priority) is queue
        )
        return QueueLoad(
            queue=queue,
            workers=self._settings.current.queues.of(queue).concurrency,
            running=stats.running,
            waiting=stats.waiting,
            lag_s=max(waits_s, default=0.0),
            completed=stats.completed,
            failed=stats.failed,
            average_duration_ms=stats.average_duration_ms,
        )


def _standing(standing: monitor.Standing) -> Standing:
    return Standing(**asdict(standing) | {"priority": PRIORITY_NAMES[standing.priority]})
