"""The scheduler on real leases: two daemons, one database, each account in one place at a time."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import anyio
import asyncpg

from emailsync.config import LiveSettings, Settings
from emailsync.domain.accounts import AccountKey
from emailsync.domain.jobs import SyncJob
from emailsync.domain.runs import RunRecord, RunResult
from emailsync.metrics import Metrics
from emailsync.scheduling.engine import SyncEngine
from emailsync.scheduling.foreground import ForegroundSync
from emailsync.scheduling.live_pipeline import LivePipeline
from emailsync.store.database import open_database
from emailsync.store.leases import PostgresLeaseStore
from emailsync.sync.progress import Progress
from scheduling import settings_of
from store_rig import add_account


class RealClock:
    """An `emailsync.ports.Clock` of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class Syncs:
    """Scripted syncs of all daemons of a test, and whether two of one account ever overlapped."""

    def __init__(self) -> None:
        self.started: Counter[AccountKey] = Counter()
        self.running: set[AccountKey] = set()
        self.overlaps = 0
        self.may_go_on = anyio.Event()

    async def __call__(self, job: SyncJob, _progress: Progress) -> bool:
        self.overlaps += job.key in self.running
        self.running.add(job.key)
        self.started[job.key] += 1
        try:
            await self.may_go_on.wait()
            await anyio.sleep(0.02)
        finally:
            self.running.discard(job.key)
        return self.started[job.key] < 3  # two slices and the end


def settings() -> Settings:
    return settings_of(
        email_sync={"batch_size": 10, "stagger_ms": 0},
        cluster={"lease_s": 30, "heartbeat_s": 10},
        limits={"imap": {"concurrent": 8, "per_tenant": 2, "connections_per_host": 100}},
    )


@asynccontextmanager
async def engine_on(
    url: str, name: str, syncs: Syncs
) -> AsyncIterator[tuple[SyncEngine, PostgresLeaseStore]]:
    async with open_database(url, pool_max=4) as database:
        live = LiveSettings(settings())
        store = PostgresLeaseStore(database, live, name)
        engine = SyncEngine(
            settings=live, store=store, run_job=syncs, clock=RealClock(), metrics=Metrics(),
            instance_id=name,
        )  # fmt: skip
        yield engine, store


async def test_two_daemons_share_the_accounts_and_leave_no_lease_behind(database_url: str) -> None:
    syncs = Syncs()
    connection = await asyncpg.connect(database_url)
    for number in range(60):
        await add_account(connection, f"tenant{number % 7}")

    everything_done = anyio.Event()
    done: list[AccountKey] = []

    def note(job: SyncJob, record: RunRecord) -> None:
        if record.outcome.result is RunResult.DONE:
            done.append(job.key)
        if len(done) == 60:
            everything_done.set()

    async with AsyncExitStack() as stack, anyio.create_task_group() as group:
        pipelines: list[LivePipeline] = []
        for name in ("one", "two"):
            engine, store = await stack.enter_async_context(engine_on(database_url, name, syncs))
            engine.listeners.append(note)
            pipeline = LivePipeline(
                engine=engine, store=store, settings=LiveSettings(settings()), clock=RealClock()
            )
            await group.start(pipeline.run)
            pipelines.append(pipeline)
        syncs.may_go_on.set()  # the first had done everything alone where the second was slow
        with anyio.fail_after(30):
            await everything_done.wait()
        for pipeline in pipelines:
            await pipeline.stop(grace_s=5)

    leases = await connection.fetchval(
        "SELECT count(*) FROM provider_configs WHERE lease_owner IS NOT NULL"
    )
    owners = await connection.fetch("SELECT instance_id, count(*) FROM sync_runs GROUP BY 1")
    await connection.close()
    assert syncs.overlaps == 0
    assert set(syncs.started.values()) == {3}
    assert len(syncs.started) == 60
    assert leases == 0
    assert {row["instance_id"] for row in owners} == {"one", "two"}


async def test_a_foreground_sync_brings_every_account_up_to_date(database_url: str) -> None:
    syncs = Syncs()
    syncs.may_go_on.set()
    connection = await asyncpg.connect(database_url)
    keys = [
        await add_account(connection, f"tenant{number}", sync_priority=number % 4 + 1)
        for number in range(12)
    ]
    await connection.execute("UPDATE provider_configs SET next_sync_at = now() + interval '1 day'")

    async with (
        engine_on(database_url, "here", syncs) as (engine, _store),
        anyio.create_task_group() as group,
    ):
        await group.start(engine.run)
        with anyio.fail_after(30):
            results = await ForegroundSync(
                engine=engine, clock=RealClock(), told=lambda *_: None
            ).run(keys)
        await engine.stop(grace_s=1)
    await connection.close()

    assert all(result.up_to_date for result in results.values())
    assert set(syncs.started) == set(keys)
    assert set(syncs.started.values()) == {3}
