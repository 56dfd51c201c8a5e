"""A tenant with more work than its share keeps nobody else out of a queue."""

import anyio

from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority, QueueName
from emailsync.simulation.virtual_time import run_virtually
from emailsync.sync.progress import Progress
from jobs import job_of
from scheduling import Stage, settings_of


async def take_a_minute(_job: SyncJob, _progress: Progress) -> bool:
    await anyio.sleep(60)
    return False


def test_accounts_that_wait_for_their_own_tenant_take_no_room_from_others() -> None:
    async def main() -> None:
        settings = settings_of(
            email_sync={"stagger_ms": 0}, limits={"imap": {"concurrent": 3, "per_tenant": 1}}
        )
        stage = Stage(settings, sync=take_a_minute)
        for number in range(300):
            stage.store.add(job_of("noisy", number))
        async with stage.scheduling():
            await anyio.sleep(10)
            stage.store.add(job_of("small"))
            stage.scheduler.wake()
            await anyio.sleep(1)

        assert [job.key.tenant_id for job in stage.started] == ["noisy", "small"]

    run_virtually(main())


def test_what_waits_is_bounded_however_noisy_the_tenants() -> None:
    async def main() -> None:
        settings = settings_of(
            email_sync={"stagger_ms": 0, "batch_size": 10}, limits={"imap": {"per_tenant": 1}}
        )
        stage = Stage(settings, sync=take_a_minute)
        for number in range(500):
            stage.store.add(job_of("noisy", number))

        async with stage.scheduling():
            await anyio.sleep(30)

        assert stage.engine.queues.waiting(QueueName.HIGH) <= 200

    run_virtually(main())


def test_the_critical_job_of_a_new_tenant_goes_before_high_ones_that_came_first() -> None:
    async def main() -> None:
        settings = settings_of(queues={"high": {"concurrency": 1}})
        stage = Stage(settings)
        for number in range(3):
            stage.engine.queues.put(job_of(f"high{number}", priority=Priority.HIGH))
        stage.engine.queues.put(job_of("critical", priority=Priority.CRITICAL))

        first = await stage.engine.queues.next_runnable(QueueName.HIGH)

        assert first.job.priority is Priority.CRITICAL

    run_virtually(main())
