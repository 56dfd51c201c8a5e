"""A foreground sync brings every account to a result, and says which."""

from datetime import timedelta

import anyio

from emailsync.domain.accounts import AccountKey
from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    QuotaSpent,
    Throttled,
    Unreachable,
)
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority
from emailsync.domain.runs import RunRecord, SyncCounts
from emailsync.scheduling.foreground import (
    HELD_ELSEWHERE,
    LOOKED_AT,
    AccountResult,
    ForegroundSync,
)
from emailsync.simulation.virtual_time import START, run_virtually
from emailsync.sync.progress import Progress
from jobs import job_of, key_of
from scheduling import Stage, settings_of

UP_TO_DATE = AccountResult(up_to_date=True)


def failed(reason: str) -> AccountResult:
    return AccountResult(up_to_date=False, reason=reason)


def ignore(_key: AccountKey, _record: RunRecord | None, _result: AccountResult | None) -> None:
    """For tests that look at the results only."""


def test_every_named_account_is_synced_due_or_not_and_others_are_left_alone() -> None:
    async def main() -> None:
        stage = Stage()
        told: list[tuple[AccountKey, AccountResult | None]] = []
        for number, priority in enumerate(Priority):
            later = START + timedelta(hours=number)
            stage.store.add(job_of(f"t{number}", priority=priority, due_at=later))
        stage.store.add(job_of("other"))
        keys = [key_of(f"t{number}") for number in range(4)]

        async with stage.engine_running():
            results = await ForegroundSync(
                engine=stage.engine,
                clock=stage.clock,
                told=lambda key, _record, result: told.append((key, result)),
            ).run(keys)

        assert results == dict.fromkeys(keys, UP_TO_DATE)
        assert dict(told) == results
        assert key_of("other") not in {job.key for job in stage.started}

    run_virtually(main())


def test_a_thousand_accounts_go_through_the_queues_in_batches() -> None:
    async def main() -> None:
        stage = Stage(settings_of(email_sync={"stagger_ms": 0}))
        keys = [key_of(f"t{number}") for number in range(1_000)]
        for number in range(1_000):
            stage.store.add(job_of(f"t{number}", priority=list(Priority)[number % 4]))

        async with stage.engine_running():
            results = await ForegroundSync(engine=stage.engine, clock=stage.clock, told=ignore).run(
                keys
            )

        assert results == dict.fromkeys(keys, UP_TO_DATE)
        assert len(stage.started) == 1_000
        assert max(claim.limit for claim in stage.store.claims) <= 50

    run_virtually(main())


def test_a_backfill_goes_on_slice_by_slice_until_it_is_complete() -> None:
    async def main() -> None:
        stage = Stage()

        async def eleven_slices(_job: SyncJob, _progress: Progress) -> bool:
            await anyio.sleep(90)
            return len(stage.started) <= 10

        stage.sync = eleven_slices
        stage.store.add(job_of("big"))

        async with stage.engine_running():
            results = await ForegroundSync(engine=stage.engine, clock=stage.clock, told=ignore).run(
                [key_of("big")]
            )

        assert results == {key_of("big"): UP_TO_DATE}
        assert len(stage.started) == 11

    run_virtually(main())


def test_a_backfill_goes_on_through_any_number_of_spent_quotas_while_it_gets_ahead() -> None:
    async def main() -> None:
        stage = Stage()

        async def hundred_waits(_job: SyncJob, progress: Progress) -> bool:
            if len(stage.started) <= 100:
                progress.counts = SyncCounts(created=100)
                raise QuotaSpent("used up", timedelta(minutes=9))
            return False

        stage.sync = hundred_waits
        stage.store.add(job_of("big"))

        async with stage.engine_running():
            results = await ForegroundSync(engine=stage.engine, clock=stage.clock, told=ignore).run(
                [key_of("big")]
            )

        assert results == {key_of("big"): UP_TO_DATE}
        assert len(stage.started) == 101
        assert 100 * 540 <= stage.clock.monotonic() < 100 * 542

    run_virtually(main())


def test_a_quota_that_does_not_free_within_the_patience_is_a_result() -> None:
    """A day's quota, or a minute's that other accounts use up each time."""

    async def main() -> None:
        stage = Stage()

        async def spent(job: SyncJob, _progress: Progress) -> bool:
            wait = timedelta(hours=9) if job.key.tenant_id == "day" else timedelta(minutes=1)
            raise QuotaSpent(f"the {job.key.tenant_id}'s quota is used up", wait)

        stage.sync = spent
        for name in ("day", "minute"):
            stage.store.add(job_of(name))

        async with stage.engine_running():
            results = await ForegroundSync(engine=stage.engine, clock=stage.clock, told=ignore).run(
                [key_of("day"), key_of("minute")]
            )

        assert results == {
            key_of(name): failed(f"the {name}'s quota is used up") for name in ("day", "minute")
        }
        assert 540 <= stage.clock.monotonic() < 660

    run_virtually(main())


def test_each_failure_is_named_and_what_may_pass_is_waited_for() -> None:
    async def main() -> None:
        stage = Stage(settings_of(email_sync={"stagger_ms": 0}))

        async def by_name(job: SyncJob, _progress: Progress) -> bool:
            first = sum(started.key == job.key for started in stage.started) == 1
            match job.key.tenant_id:
                case "flaky" if first:
                    raise Unreachable("reset")
                case "throttled" if first:
                    raise Throttled("slow down")
                case "down":
                    raise Unreachable("no route")
                case "revoked":
                    raise AuthRefused("wrong password")
                case "unproven":
                    raise AuthUnproven("login refused")
            return False

        stage.sync = by_name
        names = ("fine", "flaky", "throttled", "down", "revoked", "unproven")
        for name in names:
            stage.store.add(job_of(name))

        async with stage.engine_running():
            results = await ForegroundSync(engine=stage.engine, clock=stage.clock, told=ignore).run(
                [key_of(name) for name in names]
            )

        assert {key.tenant_id: result for key, result in results.items()} == {
            "fine": UP_TO_DATE,
            "flaky": UP_TO_DATE,
            "throttled": UP_TO_DATE,
            "down": failed("no route"),
            "revoked": failed("wrong password"),
            "unproven": failed("login refused"),
        }
        assert stage.clock.monotonic() < 120  # nobody waits half an hour for "unproven"

    run_virtually(main())


def test_an_account_that_another_daemon_holds_is_waited_for_within_reason() -> None:
    async def main() -> None:
        stage = Stage()
        for name in ("freed", "kept"):
            stage.store.add(job_of(name))
        stage.store.take_away(key_of("freed"))
        stage.store.take_away(key_of("kept"), hold=timedelta(days=1))

        async with stage.engine_running():
            results = await ForegroundSync(
                engine=stage.engine, clock=stage.clock, told=ignore, patience=timedelta(minutes=5)
            ).run([key_of("freed"), key_of("kept")])

        assert results == {key_of("freed"): UP_TO_DATE, key_of("kept"): failed(HELD_ELSEWHERE)}
        assert 300 <= stage.clock.monotonic() < 310

    run_virtually(main())


def test_a_store_that_comes_back_in_time_is_waited_for() -> None:
    async def main() -> None:
        stage = Stage()
        stage.store.add(job_of("a"))
        stage.store.available = False

        async def come_back() -> None:
            await anyio.sleep(60)
            stage.store.available = True

        async with stage.engine_running(), anyio.create_task_group() as group:
            group.start_soon(come_back)
            results = await ForegroundSync(engine=stage.engine, clock=stage.clock, told=ignore).run(
                [key_of("a")]
            )

        assert results == {key_of("a"): UP_TO_DATE}

    run_virtually(main())


def test_an_account_that_nobody_can_claim_any_more_is_not_waited_for() -> None:
    """It was removed meanwhile, say; those that are only held elsewhere do not hide it."""

    async def main() -> None:
        stage = Stage()
        held = [f"held{number}" for number in range(2 * LOOKED_AT)]
        for name in held:
            stage.store.add(job_of(name))
            stage.store.take_away(key_of(name), hold=timedelta(seconds=30))

        async def why_never(key: AccountKey) -> str | None:
            return "it was removed" if key == key_of("removed") else None

        async with stage.engine_running():
            results = await ForegroundSync(
                engine=stage.engine, clock=stage.clock, told=ignore, why_never=why_never
            ).run([key_of(name) for name in (*held, "removed")])

        others = dict.fromkeys(map(key_of, held), UP_TO_DATE)
        assert results == others | {key_of("removed"): failed("it was removed")}
        assert stage.clock.monotonic() < 60

    run_virtually(main())
