"""Queues with workers that do nothing but take time."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from emailsync.config import Settings
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import QueueName
from emailsync.metrics import Metrics
from emailsync.scheduling.limits import Limits
from emailsync.scheduling.queues import QueueService
from emailsync.simulation.virtual_time import LoopClock

UNHURRIED = {"limiter_max": 10_000, "attempts": 1, "backoff_ms": 0}
WIDE = {"concurrent": 10_000, "per_tenant": 10_000, "interval_ms": 0}


def settings_of(
    queues: Mapping[str, Mapping[str, Any]] | None = None,
    limits: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Settings that limit nothing but what the test names."""
    return Settings.model_validate(
        {
            "queues": {
                queue: {"concurrency": workers, **UNHURRIED, **(queues or {}).get(queue, {})}
                for queue, workers in (("high", 5), ("normal", 3), ("low", 2))
            },
            "limits": {
                kind: {**WIDE, **(limits or {}).get(kind, {})}
                for kind in ("imap", "google", "microsoft")
            },
        }
    )


@dataclass
class Floor:
    """Workers that do nothing but take time."""

    settings: Settings
    clock: LoopClock = field(default_factory=LoopClock)
    started: list[SyncJob] = field(default_factory=list)
    started_at: list[float] = field(default_factory=list)
    seconds_of: Callable[[SyncJob], float] = lambda _job: 1.0
    when_done: Callable[[SyncJob], None] = lambda _job: None

    def __post_init__(self) -> None:
        self.limits = Limits(self.settings, self.clock)
        self.queues = QueueService(self.settings, self.limits, self.clock, Metrics())

    async def resize(self, settings: Settings, *, instances: int = 1) -> None:
        await self.limits.resize(settings, instances=instances)
        self.queues.resize(settings)

    async def work(self, queue: QueueName) -> None:
        while True:
            permit = await self.queues.next_runnable(queue)
            self.started.append(permit.job)
            self.started_at.append(self.clock.monotonic())
            await anyio.sleep(self.seconds_of(permit.job))
            self.queues.done(permit)
            self.when_done(permit.job)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            for queue in QueueName:
                for _ in range(self.settings.queues.of(queue).concurrency):
                    group.start_soon(self.work, queue)
            yield
            group.cancel_scope.cancel()

    async def run(self, seconds: float) -> None:
        async with self.working():
            await anyio.sleep(seconds)

    def order(self) -> list[str]:
        return [job.key.tenant_id for job in self.started]
