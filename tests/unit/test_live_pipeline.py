"""The cron clock, and the daemon's pipeline on a real event loop."""

import time
from datetime import UTC, datetime, timedelta

import anyio
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from emailsync.config import LiveSettings
from emailsync.domain.jobs import SyncJob
from emailsync.domain.runs import RunResult
from emailsync.metrics import Metrics
from emailsync.scheduling.engine import SyncEngine
from emailsync.scheduling.live_pipeline import LivePipeline
from emailsync.scheduling.ticks import CronTicks, cron
from emailsync.sync.progress import Progress
from fakes import FallibleLeaseStore
from jobs import job_of, key_of
from scheduling import settings_of


class RealClock:
    """An `emailsync.ports.Clock` of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


async def test_ticks_that_a_blocked_loop_missed_come_late_and_as_one() -> None:
    """APScheduler skips what is over a second late unless told otherwise."""
    ticks: list[float] = []
    ticked = anyio.Event()

    def tick() -> None:
        ticks.append(time.monotonic())
        ticked.set()

    clock = CronTicks(IntervalTrigger(seconds=0.5, timezone="UTC"))
    async with anyio.create_task_group() as group:
        await group.start(clock.run, tick)
        time.sleep(2.2)  # noqa: ASYNC251 - the blocked loop is the point
        with anyio.fail_after(5):
            await ticked.wait()
        late = len(ticks)
        group.cancel_scope.cancel()

    assert late in {1, 2}  # the missed four as one, and perhaps the next in time


async def test_another_cron_expression_takes_effect_at_once() -> None:
    ticked = anyio.Event()
    clock = CronTicks(cron("0 0 1 1 *"))

    async with anyio.create_task_group() as group:
        await group.start(clock.run, ticked.set)
        clock.replace(DateTrigger(datetime.now(UTC) + timedelta(milliseconds=50)))
        with anyio.fail_after(5):
            await ticked.wait()
        group.cancel_scope.cancel()


async def test_the_pipeline_syncs_what_is_due_wakes_reloads_and_stops() -> None:
    clock, settings = RealClock(), LiveSettings(settings_of())
    store = FallibleLeaseStore(clock)
    finished = anyio.Event()
    results: list[RunResult] = []

    async def sync(_job: SyncJob, _progress: Progress) -> bool:
        return False

    engine = SyncEngine(
        settings=settings, store=store, run_job=sync, clock=clock, metrics=Metrics(),
        instance_id="here",
    )  # fmt: skip
    engine.listeners.append(lambda _job, record: results.append(record.outcome.result))
    engine.listeners.append(lambda *_: finished.set())
    pipeline = LivePipeline(engine=engine, store=store, settings=settings, clock=clock)
    store.add(job_of("first", due_at=clock.now()))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            await group.start(pipeline.run)
            await finished.wait()
            finished = anyio.Event()
            settings.current = settings_of(email_sync={"cron": "0 4 * * *"})
            await pipeline.resize()
            store.add(job_of("second", due_at=clock.now()))
            pipeline.wake()
            await finished.wait()
            await pipeline.stop()

    assert results == [RunResult.DONE, RunResult.DONE]
    assert store.accounts[key_of("second")].job.last_synced_at is not None
    assert store.leased() == set()
