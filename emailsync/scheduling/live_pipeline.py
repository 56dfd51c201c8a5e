"""LivePipeline: the scheduler and its cron clock, feeding the engine. What the daemon runs."""

import anyio
import anyio.abc

from emailsync.config import LiveSettings
from emailsync.domain.jobs import Moved
from emailsync.ports import Clock, LeaseStore
from emailsync.scheduling.engine import SyncEngine
from emailsync.scheduling.scheduler import SyncSchedulerService
from emailsync.scheduling.ticks import CronTicks, cron


class LivePipeline:
    """Syncs what is due, from `run` until `stop`."""

    def __init__(
        self, *, engine: SyncEngine, store: LeaseStore, settings: LiveSettings, clock: Clock
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._cron = settings.current.email_sync.cron
        self._ticks = CronTicks(cron(self._cron))
        self._scheduler = SyncSchedulerService(
            engine=engine, store=store, settings=settings, clock=clock
        )
        self._feeding = anyio.CancelScope()

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Claim and sync until `stop` has done its work."""
        async with anyio.create_task_group() as group:
            await group.start(self._engine.run, name="engine")
            await group.start(self._feed, name="scheduler")
            task_status.started()

    def wake(self, moved: Moved | None = None) -> None:
        """Look for due and requested accounts now; those that moved may be waiting here already."""
        self._scheduler.wake(moved)

    async def resize(self) -> None:
        """Put the current settings in force; no job is dropped."""
        await self._engine.resize()
        if self._settings.current.email_sync.cron != self._cron:
            self._cron = self._settings.current.email_sync.cron
            self._ticks.replace(cron(self._cron))
        self._scheduler.wake()

    async def stop(self, *, grace_s: float = 20) -> None:
        """Stop claiming at once, let running jobs end for `grace_s`, give every lease back."""
        self._feeding.cancel()
        await self._engine.stop(grace_s=grace_s)

    async def _feed(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        with self._feeding:
            async with anyio.create_task_group() as group:
                await group.start(self._scheduler.run, name="claims")
                await group.start(self._ticks.run, self._scheduler.tick, name="ticks")
                task_status.started()
