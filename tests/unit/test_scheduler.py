"""When the scheduler claims, how much, and when it does not."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import anyio
import pytest

from emailsync.domain.accounts import AccountKey, TenantId
from emailsync.domain.errors import QuotaSpent
from emailsync.domain.jobs import Moved, SyncJob
from emailsync.domain.priority import Priority, QueueName
from emailsync.domain.runs import RunResult
from emailsync.simulation.virtual_time import START, run_virtually
from emailsync.sync.progress import Progress
from jobs import job_of, key_of
from scheduling import Stage, settings_of

UNSTAGGERED = {"stagger_ms": 0}


def make_urgent(stage: Stage, key: AccountKey) -> None:
    """Give an account another priority while somebody holds it."""
    account = stage.store.accounts[key]
    account.job = replace(account.job, priority=Priority.HIGH)


async def take_an_hour(_job: SyncJob, _progress: Progress) -> bool:
    await anyio.sleep(3_600)
    return False


def test_what_is_due_at_the_start_is_claimed_at_once_for_every_queue() -> None:
    async def main() -> None:
        stage = Stage()
        for priority in Priority:
            stage.store.add(job_of(priority.name, priority=priority))

        async with stage.scheduling():
            await anyio.sleep(0.5)

        assert {job.priority for job in stage.started} == set(Priority)
        assert stage.store.reprioritised == 1

    run_virtually(main())


def test_more_than_the_queues_have_room_for_stays_in_the_database() -> None:
    async def main() -> None:
        stage = Stage(sync=take_an_hour)
        for number in range(1_000):
            stage.store.add(job_of(f"t{number}"))

        async with stage.scheduling():
            for _ in range(20):
                stage.scheduler.wake()
                stage.scheduler.tick()
                await anyio.sleep(10)

            assert stage.engine.queues.waiting(QueueName.HIGH) == 100
            assert all(claim.limit <= 50 for claim in stage.store.claims)

    run_virtually(main())


def test_a_queue_that_runs_low_is_refilled_without_waiting_for_a_tick() -> None:
    async def main() -> None:
        stage = Stage(settings_of(email_sync=UNSTAGGERED))
        for number in range(300):
            stage.store.add(job_of(f"t{number}"))

        async with stage.scheduling():
            await anyio.sleep(61)  # five workers, a second each

        assert len(stage.finished) == 300
        assert len(stage.store.claims) < 40

    run_virtually(main())


def test_a_sliced_sync_goes_on_at_once_in_turns_with_the_other_tenants() -> None:
    async def main() -> None:
        stage = Stage(
            settings_of(queues={"high": {"concurrency": 1}}, email_sync={"stagger_ms": 0})
        )

        async def twenty_seconds(job: SyncJob, _progress: Progress) -> bool:
            await anyio.sleep(20)
            return job.key.tenant_id == "big"

        stage.sync = twenty_seconds
        stage.store.add(job_of("big"))
        for number in range(3):
            stage.store.add(job_of("small", number))

        async with stage.scheduling():
            await anyio.sleep(179)

        order = [job.key.tenant_id for job in stage.started]
        assert order[:6].count("small") == 3
        assert order[6:] == ["big"] * 3
        assert order[0] == "big"
        assert "big" in order[1:4]  # its next slice waits for two of the others at most
        assert set(stage.results()) == {RunResult.SLICED, RunResult.DONE}

    run_virtually(main())


def test_an_account_whose_quota_is_spent_holds_no_worker_and_goes_on_when_it_frees() -> None:
    async def main() -> None:
        stage = Stage(settings_of(queues={"high": {"concurrency": 1}}, email_sync=UNSTAGGERED))
        started_s: list[float] = []

        async def spends(job: SyncJob, _progress: Progress) -> bool:
            if job.key.tenant_id == "big":
                started_s.append(stage.clock.monotonic())
                if len(started_s) <= 3:
                    raise QuotaSpent("used up", timedelta(seconds=40))
            return False

        stage.sync = spends
        stage.store.add(job_of("big"))
        stage.store.add(job_of("other"))

        async with stage.scheduling():
            await anyio.sleep(100)
            unfinished = stage.store.accounts[key_of("big")].job
            await anyio.sleep(21)
            finished = stage.store.accounts[key_of("big")].job

        page = stage.metrics.exposition().decode()
        others = [job for job in stage.started if job.key.tenant_id == "other"]
        waits_s = [later - earlier for earlier, later in pairwise(started_s)]
        assert waits_s == [pytest.approx(40, abs=1)] * 3
        assert len(others) == 1
        assert len(stage.store.claims) < 20
        assert (unfinished.last_synced_at, unfinished.attempt) == (None, 1)
        assert finished.last_synced_at is not None
        assert 'sync_jobs_completed{provider_type="imap"} 2.0' in page
        assert 'sync_jobs_failed{provider_type="imap"' not in page
        assert 'rate_limit_hits{provider_type="imap"} 0.0' in page
        assert list(stage.engine.queues.failures) == []

    run_virtually(main())


def test_an_account_that_becomes_due_between_two_ticks_is_not_kept_waiting() -> None:
    async def main() -> None:
        stage = Stage()
        stage.store.add(job_of("soon", due_at=START + timedelta(seconds=42)))
        stage.store.add(job_of("later", due_at=START + timedelta(seconds=99)))

        async with stage.scheduling():
            await anyio.sleep(100.5)

        started = [job.key.tenant_id for job in stage.started]
        assert started == ["soon", "later"]
        assert len(stage.store.claims) <= 3 + 4

    run_virtually(main())


def test_a_failed_sync_is_tried_again_when_its_backoff_is_over() -> None:
    async def main() -> None:
        stage = Stage()
        attempts: list[tuple[float, int]] = []

        async def fail(job: SyncJob, _progress: Progress) -> bool:
            attempts.append((stage.clock.monotonic(), job.attempt))
            raise ZeroDivisionError

        stage.sync = fail
        stage.store.add(job_of("a"))

        async with stage.scheduling():
            await anyio.sleep(100)

        assert [attempt for _, attempt in attempts] == [1, 2, 3]
        assert [at for at, _ in attempts] == pytest.approx([0, 5, 30], abs=0.1)
        assert stage.results() == [RunResult.RETRY, RunResult.RETRY, RunResult.FAILED]

    run_virtually(main())


def test_a_wake_finds_an_account_that_was_just_added() -> None:
    async def main() -> None:
        stage = Stage()

        async with stage.scheduling():
            await anyio.sleep(10)
            stage.store.add(job_of("new", due_at=stage.clock.now()))
            stage.scheduler.wake()
            await anyio.sleep(0.1)

        assert [job.key for job in stage.started] == [key_of("new")]

    run_virtually(main())


def test_nothing_is_claimed_and_nothing_spins_while_the_store_is_away() -> None:
    async def main() -> None:
        stage = Stage()
        stage.store.available = False
        stage.store.add(job_of("a"))
        asked = 0
        reprioritise = stage.store.reprioritise

        async def counted() -> int:
            nonlocal asked
            asked += 1
            return await reprioritise()

        stage.store.reprioritise = counted  # type: ignore[method-assign]  # counts the tries

        async with stage.scheduling():
            await anyio.sleep(120)
            assert 20 < asked < 40
            stage.store.available = True
            await anyio.sleep(10)

        assert stage.results() == [RunResult.DONE]

    run_virtually(main())


def test_a_disabled_scheduler_claims_nothing_until_it_is_enabled() -> None:
    async def main() -> None:
        stage = Stage(settings_of(email_sync={"enabled": False}))
        stage.store.add(job_of("a"))

        async with stage.scheduling():
            stage.scheduler.tick()
            await anyio.sleep(1_000)
            assert stage.store.claims == []
            stage.settings.current = settings_of()
            stage.scheduler.wake()
            await anyio.sleep(2)

        assert stage.results() == [RunResult.DONE]

    run_virtually(main())


def test_each_queue_is_served_in_every_cycle_however_full_the_others_are() -> None:
    async def main() -> None:
        stage = Stage(settings_of(email_sync=UNSTAGGERED, limits={"imap": {"concurrent": 3}}))
        for number in range(400):
            for priority in (Priority.HIGH, Priority.NORMAL, Priority.LOW):
                stage.store.add(job_of(f"{priority}-{number}", priority=priority))

        async with stage.scheduling():
            await anyio.sleep(100)

        turns = Counter(job.queue for job in stage.started)
        assert turns[QueueName.LOW] == pytest.approx(60, abs=10)
        assert turns[QueueName.HIGH] == pytest.approx(150, abs=15)

    run_virtually(main())


def test_a_stopping_engine_lets_jobs_end_gives_leases_back_and_claims_no_more() -> None:
    async def main() -> None:
        stage = Stage(settings_of(queues={"high": {"concurrency": 2}}))
        for number in range(10):
            stage.store.add(job_of(f"t{number}"))

        async with anyio.create_task_group() as group:
            await group.start(stage.engine.run)
            await group.start(stage.scheduler.run)
            await anyio.sleep(0.5)
            await stage.engine.stop(grace_s=20)
            stage.scheduler.tick()
            await anyio.sleep(60)
            group.cancel_scope.cancel()

        assert stage.results() == [RunResult.DONE, RunResult.DONE]
        assert stage.store.leased() == set()

    run_virtually(main())


def test_a_claim_under_way_when_the_daemon_stops_is_given_back() -> None:
    async def main() -> None:
        stage = Stage()
        stage.store.add(job_of("a"))
        stage.store.claim_takes_s = 1

        async with anyio.create_task_group() as group:
            await group.start(stage.engine.run)
            await group.start(stage.scheduler.run)
            await anyio.sleep(0.5)
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await stage.engine.stop(grace_s=20)

        assert stage.started == []
        assert stage.store.leased() == set()

    run_virtually(main())


def test_a_job_that_outlasts_the_grace_is_cut_short_and_due_again_at_once() -> None:
    async def main() -> None:
        stage = Stage(sync=take_an_hour)
        stage.store.add(job_of("a"))

        async with anyio.create_task_group() as group:
            await group.start(stage.engine.run)
            await group.start(stage.scheduler.run)
            await anyio.sleep(5)
            await stage.engine.stop(grace_s=20)
            stopped_at = stage.clock.monotonic()
            group.cancel_scope.cancel()

        account = stage.store.accounts[key_of("a")]
        assert stopped_at == pytest.approx(25, abs=0.1)
        assert stage.results() == [RunResult.CANCELLED]
        assert account.next_sync_at == START + timedelta(seconds=25)
        assert account.job.attempt == 1
        assert stage.store.leased() == set()

    run_virtually(main())


def test_what_moved_is_given_back_and_claimed_anew_at_once() -> None:
    """A tenant that logs in does not wait behind what its accounts were claimed behind."""

    async def main() -> None:
        stage = Stage(settings_of(queues={"low": {"concurrency": 1}}), sync=take_an_hour)
        for number in range(5):
            stage.store.add(job_of("idle", number, priority=Priority.LOW))
            stage.store.add(job_of("comes", number, priority=Priority.LOW))

        async with stage.scheduling():
            await anyio.sleep(5)
            waiting = stage.store.leased()
            for number in range(5):
                make_urgent(stage, key_of("comes", number))
            stage.scheduler.wake(Moved(TenantId("comes")))
            await anyio.sleep(1)

        assert len(waiting) == 10
        started = [job for job in stage.started if job.priority is Priority.HIGH]
        assert {job.key.tenant_id for job in started} == {"comes"}
        assert len(started) >= 4  # one may have been running as it was

    run_virtually(main())


def test_one_account_that_moved_leaves_the_others_of_its_tenant_where_they_are() -> None:
    async def main() -> None:
        stage = Stage(settings_of(queues={"low": {"concurrency": 1}}), sync=take_an_hour)
        for number in range(3):
            stage.store.add(job_of("busy", number, priority=Priority.LOW))

        async with stage.scheduling():
            await anyio.sleep(5)
            key = key_of("busy", 2)
            make_urgent(stage, key)
            stage.scheduler.wake(Moved(key.tenant_id, key.account_id))
            await anyio.sleep(1)

        assert [job.key for job in stage.started if job.priority is Priority.HIGH] == [key]
        assert stage.engine.queues.waiting(QueueName.LOW) == 1

    run_virtually(main())


def test_what_is_asked_for_is_claimed_at_a_tick_too_before_what_is_due() -> None:
    """A notification may be lost."""

    async def main() -> None:
        stage = Stage(sync=take_an_hour)
        for number in range(1_000):
            stage.store.add(job_of(f"t{number}"))

        async with stage.scheduling():
            await anyio.sleep(30)
            stage.store.claims.clear()
            stage.scheduler.tick()
            await anyio.sleep(1)

        assert [claim.requested for claim in stage.store.claims[:2]] == [True, False]

    run_virtually(main())
