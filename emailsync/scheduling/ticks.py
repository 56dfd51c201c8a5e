"""The cron clock: calls back at the times of a cron expression, and nothing else.

APScheduler is only the clock. It keeps its job in memory, folds missed times into one, and is
never late enough to skip one: the truth about what is due is in the database.
"""

from collections.abc import Callable

import anyio
import anyio.abc
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

JOB = "tick"


def cron(expression: str) -> BaseTrigger:
    """Return the trigger of a five-field cron expression, in UTC."""
    return CronTrigger.from_crontab(expression, timezone="UTC")


class CronTicks:
    """Ticks at the times of a trigger, which may be replaced while it runs."""

    def __init__(self, trigger: BaseTrigger) -> None:
        self._trigger = trigger
        self._scheduler = AsyncIOScheduler(timezone="UTC")

    async def run(
        self,
        tick: Callable[[], None],
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Call `tick` on the event loop at each time, until cancelled."""

        async def on_the_loop() -> None:  # APScheduler runs plain functions in threads
            tick()

        self._scheduler.add_job(
            on_the_loop, self._trigger, id=JOB, coalesce=True, misfire_grace_time=None
        )
        self._scheduler.start()
        task_status.started()
        try:
            await anyio.sleep_forever()
        finally:
            self._scheduler.shutdown(wait=False)

    def replace(self, trigger: BaseTrigger) -> None:
        """Tick at the times of another trigger from now on."""
        self._trigger = trigger
        if self._scheduler.running:
            self._scheduler.reschedule_job(JOB, trigger=trigger)
