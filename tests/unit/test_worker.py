"""What a consumer makes of whatever a sync does: outcomes stored, consumers that survive."""

import gc
import weakref
from collections import UserString
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from structlog.testing import capture_logs

from emailsync.config import Settings
from emailsync.domain.circuit import CircuitState
from emailsync.domain.errors import (
    AuthRefused,
    LeaseLost,
    QuotaSpent,
    StoreUnavailable,
    Throttled,
    Unreachable,
)
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import QueueName
from emailsync.domain.runs import RunResult, SyncCounts
from emailsync.ports import ClaimRequest
from emailsync.simulation.virtual_time import START, run_virtually
from emailsync.sync.progress import Progress
from jobs import job_of, key_of
from scheduling import Stage, settings_of

HIGH = ClaimRequest(queue=QueueName.HIGH, limit=50)


async def claimed(stage: Stage, seconds: float) -> None:
    """Claim what is due in the high queue and let the engine work for a while."""
    async with stage.engine_running():
        await stage.engine.claim(HIGH)
        await anyio.sleep(seconds)


def test_a_sync_that_ends_well_is_stored_counted_and_logged_in_one_line() -> None:
    async def sync(_job: SyncJob, progress: Progress) -> bool:
        await anyio.sleep(2)
        progress.counts = SyncCounts(created=7, pages=1)
        return False

    async def main() -> None:
        stage = Stage(sync=sync)
        stage.store.add(job_of("a"))

        with capture_logs() as lines:
            await claimed(stage, 3)

        [record] = stage.store.records[key_of("a")]
        assert record.outcome.result is RunResult.DONE
        assert record.outcome.next_sync_at == START + timedelta(seconds=2, minutes=30)
        assert record.duration == timedelta(seconds=2)
        assert record.counts.created == 7
        assert not stage.store.leased()
        [line] = [line for line in lines if line["event"] == "sync.job_finished"]
        assert (line["result"], line["created"], line["duration_ms"]) == ("done", 7, 2000)
        assert stage.metrics.queue_stats(QueueName.HIGH).completed == 1

    run_virtually(main())


@pytest.mark.parametrize(
    ("error", "result", "wait_s"),
    [
        (Unreachable("no route"), RunResult.RETRY, 5),
        (Throttled("slow down", timedelta(seconds=90)), RunResult.THROTTLED, 90),
        (QuotaSpent("used up", timedelta(seconds=40)), RunResult.SLICED, 40),
        (AuthRefused("invalid_grant"), RunResult.NEEDS_RECONNECT, None),
        (StoreUnavailable("full"), RunResult.RETRY, 5),
        (RuntimeError("a bug"), RunResult.RETRY, 5),
        (RecursionError(), RunResult.RETRY, 5),
    ],
)
def test_what_a_sync_raises_becomes_its_outcome_and_the_consumer_goes_on(
    error: Exception, result: RunResult, wait_s: float | None
) -> None:
    async def sync(job: SyncJob, progress: Progress) -> bool:
        progress.counts = SyncCounts(created=3)
        progress.quota_use.units = 40
        if job.key.tenant_id == "bad":
            raise error
        return False

    async def main() -> None:
        stage = Stage(settings_of(queues={"high": {"concurrency": 1}}), sync=sync)
        stage.store.add(job_of("bad"))
        stage.store.add(job_of("good"))

        await claimed(stage, 1)

        [record] = stage.store.records[key_of("bad")]
        due = None if wait_s is None else START + timedelta(seconds=wait_s)
        assert record.outcome.result is result
        assert record.outcome.next_sync_at == due
        assert record.counts.created == 3  # what was stored before it failed
        assert record.quota_units == 40
        assert stage.results() == [result, RunResult.DONE]

    run_virtually(main())


def test_pages_in_memory_are_gone_with_the_sync_that_failed() -> None:
    """Were they left to the garbage collector, an outage would fill the memory."""
    pages: list[weakref.ref[UserString]] = []

    async def sync(_job: SyncJob, _progress: Progress) -> bool:
        page = UserString("megabytes")
        pages.append(weakref.ref(page))
        try:
            raise ConnectionResetError
        except OSError as error:
            failure = Unreachable("cut")
            raise failure from error

    async def main() -> None:
        stage = Stage(sync=sync)
        stage.store.add(job_of("a"))
        gc.disable()
        try:
            await claimed(stage, 1)
            assert stage.results() == [RunResult.RETRY]
            assert [page() for page in pages] == [None]
        finally:
            gc.enable()

    run_virtually(main())


def test_an_unforeseen_failure_is_logged_with_its_traceback() -> None:
    async def sync(_job: SyncJob, _progress: Progress) -> bool:
        raise ZeroDivisionError

    async def main() -> None:
        stage = Stage(sync=sync)
        stage.store.add(job_of("a"))

        with capture_logs() as lines:
            await claimed(stage, 1)

        [line] = [line for line in lines if line["event"] == "sync.job_crashed"]
        assert isinstance(line["exc_info"], ZeroDivisionError)

    run_virtually(main())


def test_the_last_hundred_failures_are_kept() -> None:
    async def sync(job: SyncJob, _progress: Progress) -> bool:
        raise Unreachable(job.key.tenant_id)

    async def main() -> None:
        stage = Stage(settings_of(email_sync={"batch_size": 200, "stagger_ms": 0}), sync=sync)
        for number in range(130):
            stage.store.add(job_of(f"t{number}"))

        async with stage.engine_running():
            await stage.engine.claim(replace(HIGH, limit=200))
            await anyio.sleep(1)

        kept = [failure.error for failure in stage.engine.queues.failures]
        assert kept == [f"t{number}" for number in range(30, 130)]

    run_virtually(main())


def test_a_job_whose_endpoint_went_down_while_it_waited_is_put_off_without_being_run() -> None:
    async def main() -> None:
        stage = Stage()
        stage.store.add(job_of("a", endpoint="down"))

        async with stage.engine_running():
            await stage.engine.claim(HIGH)
            for _ in range(5):  # it goes down between the claim and the run
                stage.store.fail_endpoint("down")
            await anyio.sleep(1)

        assert stage.results() == [RunResult.DEFERRED]
        assert stage.started == []
        assert stage.store.accounts[key_of("a")].next_sync_at == START + timedelta(seconds=30)

    run_virtually(main())


def test_five_failures_open_the_circuit_others_go_on_and_one_probe_closes_it() -> None:
    down = True

    async def sync(job: SyncJob, _progress: Progress) -> bool:
        if job.endpoint == "down" and down:
            raise Unreachable("refused")
        return False

    async def main() -> None:
        nonlocal down
        stage = Stage(settings_of(email_sync={"stagger_ms": 0}), sync=sync)
        for number in range(20):
            stage.store.add(job_of(f"t{number}", endpoint="down"))
        stage.store.add(job_of("healthy"))

        async with stage.scheduling():
            await anyio.sleep(100)
            tried = [job for job in stage.started if job.endpoint == "down"]
            assert stage.store.circuits["down"].state is CircuitState.OPEN
            assert len(tried) <= 5 + 4  # five, and those that were running when it opened
            assert stage.store.accounts[key_of("healthy")].job.last_synced_at is not None
            down = False
            await anyio.sleep(260)  # the five minutes of the circuit, and one for the others

        assert stage.store.circuits["down"].state is CircuitState.CLOSED
        assert all(account.job.last_synced_at for account in stage.store.accounts.values())

    run_virtually(main())


def test_an_outcome_is_stored_when_the_store_is_back() -> None:
    async def main() -> None:
        stage = Stage()
        stage.store.add(job_of("a"))

        async with stage.engine_running():
            await stage.engine.claim(HIGH)
            await anyio.sleep(0.5)
            stage.store.available = False
            await anyio.sleep(20)
            assert stage.store.records[key_of("a")] == []
            stage.store.available = True
            await anyio.sleep(1.1)

        [record] = stage.store.records[key_of("a")]
        assert record.outcome.result is RunResult.DONE

    run_virtually(main())


def test_a_job_that_finds_its_lease_lost_stores_nothing() -> None:
    async def sync(_job: SyncJob, _progress: Progress) -> bool:
        raise LeaseLost("epoch moved on")

    async def main() -> None:
        stage = Stage(sync=sync)
        stage.store.add(job_of("a"))

        await claimed(stage, 1)

        assert stage.results() == [RunResult.LEASE_LOST]
        assert stage.store.records[key_of("a")] == []

    run_virtually(main())


def with_workers(high: int) -> Settings:
    return settings_of(
        queues={"high": {"concurrency": high}}, email_sync={"batch_size": 100, "stagger_ms": 0}
    )


def test_consumers_come_and_go_with_the_settings_and_no_job_is_dropped() -> None:
    async def main() -> None:
        stage = Stage(with_workers(2))
        for number in range(40):
            stage.store.add(job_of(f"t{number}"))
        running: list[int] = []

        async with stage.engine_running():
            await stage.engine.claim(replace(HIGH, limit=100))
            for workers in (2, 6, 1, 3):
                stage.settings.current = with_workers(workers)
                await stage.engine.resize()
                await anyio.sleep(2.5)
                running.append(stage.engine.queues.running())
            await anyio.sleep(30)
            idle = stage.engine.queues.running()
            stage.settings.current = with_workers(1)
            await stage.engine.resize()  # now all of them are idle
            stage.store.add(job_of("late"))
            await stage.engine.claim(HIGH)
            await anyio.sleep(1.5)

        assert running == [2, 6, 1, 3]
        assert idle == 0
        assert stage.results() == [RunResult.DONE] * 41

    run_virtually(main())
