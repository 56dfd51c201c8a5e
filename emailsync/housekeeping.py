"""What the daemon does beside syncing: it watches its event loop, counts, and tidies up.

Nothing here may fail the daemon: without the database the next round tries again.
"""

import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import structlog

from emailsync.config import LiveSettings
from emailsync.domain.errors import StoreUnavailable
from emailsync.metrics import Metrics
from emailsync.ports import Clock
from emailsync.scheduling.queues import QueueService
from emailsync.store.database import Database
from emailsync.store.erasure import Erasure
from emailsync.store.overview import Overview
from emailsync.store.retention import remove_old_rows

PROBE_EVERY_S: Final = 0.1
SLOW_LOOP_S: Final = 1.0  #: worth a line in the log
COUNT_EVERY_S: Final = 15.0
TIDY_EVERY_S: Final = 3_600.0

log = structlog.get_logger(__name__)


async def watch_event_loop(metrics: Metrics, clock: Clock) -> None:
    """Measure for ever by how much a short sleep is late: so late is everything else."""
    while True:
        asleep_s, computed_s = clock.monotonic(), time.thread_time()
        await anyio.sleep(PROBE_EVERY_S)
        lag_s = max(0.0, clock.monotonic() - asleep_s - PROBE_EVERY_S)
        busy_s = time.thread_time() - computed_s
        metrics.loop_lagged(lag_s, busy_s)
        if lag_s > SLOW_LOOP_S:
            log.warning("event_loop.blocked", lag_s=round(lag_s, 3), busy_s=round(busy_s, 3))


async def watch_disk(state_dir: Path, metrics: Metrics) -> None:
    """Record for ever how much room the state directory has, or will have once it is made."""
    while True:
        with suppress(OSError):
            metrics.disk_read(await anyio.to_thread.run_sync(_free_bytes, state_dir))
        await anyio.sleep(COUNT_EVERY_S)


def _free_bytes(folder: Path) -> int:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(there).free


async def keep_counting(
    database: Database, queues: QueueService, settings: LiveSettings, metrics: Metrics
) -> None:
    """Keep the metrics that only the database knows up to date, for ever."""
    overview = Overview(database)
    while True:
        try:
            gauges = await overview.gauges(settings.current)
        except StoreUnavailable as error:
            metrics.store_away()
            log.debug("metrics.not_read", error=error.message)
        else:
            # An account waits in the database until it is claimed, and in its queue after that.
            claimed = queues.lag_s()
            lag_s = {
                priority: max(claimed[priority], gauges.lag_s.get(priority, 0))
                for priority in claimed
            }
            metrics.store_read(replace(gauges, lag_s=lag_s))
        await anyio.sleep(COUNT_EVERY_S)


async def keep_tidy(database: Database, settings: LiveSettings, clock: Clock) -> None:
    """Remove rows whose time is over, and what an erasure left behind, every hour, for ever."""
    while True:
        keep = settings.current.store.retention
        try:
            removed = await remove_old_rows(database, keep, now=clock.now())
            erased = await Erasure(database).resume()
        except StoreUnavailable as error:
            log.warning("retention.failed", error=error.message)
        else:
            log.info("retention.finished", removed=removed, erased=erased)
        await anyio.sleep(TIDY_EVERY_S)
