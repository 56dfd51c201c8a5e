"""An engine on an in-memory lease store, in virtual time, running scripted syncs."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from emailsync.config import LiveSettings, Settings
from emailsync.domain.jobs import SyncJob
from emailsync.domain.runs import RunRecord, RunResult
from emailsync.metrics import Metrics
from emailsync.scheduling.engine import SyncEngine
from emailsync.scheduling.scheduler import SyncSchedulerService
from emailsync.simulation.virtual_time import LoopClock
from emailsync.sync.progress import Progress
from fakes import FallibleLeaseStore

Sync = Callable[[SyncJob, Progress], Awaitable[bool]]

WIDE = {"concurrent": 10_000, "per_tenant": 10_000, "interval_ms": 0}
UNHURRIED = {"limiter_max": 10_000, "backoff_ms": 5_000, "attempts": 3}


def settings_of(**sections: Mapping[str, Any]) -> Settings:
    """Settings that limit nothing but what the test names."""
    queues = sections.pop("queues", {})
    limits = sections.pop("limits", {})
    return Settings.model_validate(
        {
            "queues": {
                queue: {"concurrency": workers, **UNHURRIED, **queues.get(queue, {})}
                for queue, workers in (("high", 5), ("normal", 3), ("low", 2))
            },
            "limits": {
                kind: {**WIDE, **limits.get(kind, {})} for kind in ("imap", "google", "microsoft")
            },
            **sections,
        }
    )


class Stage:
    """Everything of a daemon that schedules, around a sync that the test writes."""

    def __init__(self, settings: Settings | None = None, *, sync: Sync | None = None) -> None:
        self.clock = LoopClock()
        self.settings = LiveSettings(settings or settings_of())
        self.store = FallibleLeaseStore(self.clock)
        self.metrics = Metrics()
        self.started: list[SyncJob] = []
        self.finished: list[tuple[SyncJob, RunRecord]] = []
        self.sync: Sync = sync or self.take_a_second
        self.engine = SyncEngine(
            settings=self.settings,
            store=self.store,
            run_job=self.run_job,
            clock=self.clock,
            metrics=self.metrics,
            instance_id="here",
            jitter=lambda: 0,
        )
        self.engine.listeners.append(lambda *run: self.finished.append(run))
        self.scheduler = SyncSchedulerService(
            engine=self.engine, store=self.store, settings=self.settings, clock=self.clock
        )

    async def run_job(self, job: SyncJob, progress: Progress) -> bool:
        self.started.append(job)
        return await self.sync(job, progress)

    @staticmethod
    async def take_a_second(_job: SyncJob, _progress: Progress) -> bool:
        await anyio.sleep(1)
        return False

    @asynccontextmanager
    async def engine_running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            await group.start(self.engine.run)
            yield
            group.cancel_scope.cancel()

    @asynccontextmanager
    async def scheduling(self) -> AsyncIterator[None]:
        async with self.engine_running(), anyio.create_task_group() as group:
            await group.start(self.scheduler.run)
            yield
            group.cancel_scope.cancel()

    def results(self) -> list[RunResult]:
        return [record.outcome.result for _, record in self.finished]
