"""A simulation runs the real scheduling, so its figures are those that the settings lead to."""

from datetime import datetime, timedelta

import pytest

from emailsync.config import Settings
from emailsync.domain.accounts import ProviderType
from emailsync.domain.priority import Priority, QueueName
from emailsync.ports import ClaimRequest
from emailsync.simulation.lease_store import MemoryLeaseStore
from emailsync.simulation.population import Crowd, Mix
from emailsync.simulation.run import Plan, Report, simulate
from emailsync.simulation.virtual_time import START
from jobs import job_of

IDLE = Mix(critical=0, high=0, normal=0, low=100)  # nobody is due again within four hours


def simulated(
    crowd: Crowd,
    settings: Settings | None = None,
    *,
    sync_s: float = 2.0,
    seed: int = 1,
    after: timedelta = timedelta(),
    patience: timedelta = timedelta(hours=6),
) -> Report:
    plan = Plan(crowd=crowd, sync_s=sync_s, seed=seed, after=after, patience=patience)
    return simulate(settings or Settings(), plan)


def test_a_cycle_syncs_everybody_once() -> None:
    report = simulated(Crowd(tenants=30, mix=IDLE))

    assert report.accounts == 60
    assert report.cycle.syncs == 60
    assert [(lag.priority, lag.syncs) for lag in report.cycle.lags] == [(Priority.LOW, 60)]
    assert not report.never_synced
    assert report.overdue == 0


def test_the_same_seed_gives_the_same_report_and_another_seed_another() -> None:
    crowd = Crowd(tenants=30)

    assert simulated(crowd, seed=7) == simulated(crowd, seed=7)
    assert simulated(crowd, seed=7) != simulated(crowd, seed=8)


def test_no_limit_is_exceeded_and_the_queues_run_what_the_providers_get() -> None:
    report = simulated(Crowd(tenants=60, accounts_per_tenant=3, provider_types=tuple(ProviderType)))

    uses = {use.limit: use for use in report.cycle.uses}
    by_queue, by_type = (
        sum(use.average for use in uses.values() if use.limit.endswith(key))
        for key in (".concurrency", ".concurrent")
    )
    assert all(use.peak <= use.allowed + 1e-6 for use in uses.values())
    assert by_queue == pytest.approx(by_type)
    assert uses["limits.imap.connections_per_host"].allowed == 25  # half of the 50 of the provider


def test_the_fullest_limit_is_named_and_raising_it_shortens_the_cycle() -> None:
    crowd = Crowd(tenants=100, mix=Mix(critical=30, high=30, normal=30, low=10))
    wider = Settings.model_validate({"limits": {"imap": {"concurrent": 10}}})

    narrow, wide = simulated(crowd), simulated(crowd, wider)

    assert narrow.cycle.bottleneck is not None
    assert narrow.cycle.bottleneck.limit == "limits.imap.concurrent"
    assert wide.cycle.duration_s < 0.8 * narrow.cycle.duration_s


def test_syncs_longer_than_a_slice_are_counted_once_each() -> None:
    report = simulated(Crowd(tenants=5, mix=IDLE), sync_s=60)

    [lag] = report.cycle.lags
    assert report.cycle.syncs == 10
    assert lag.syncs > 20  # each took several slices


def test_a_cycle_that_does_not_end_is_given_up_and_says_who_waits() -> None:
    report = simulated(Crowd(tenants=100, mix=IDLE), sync_s=15, patience=timedelta(minutes=5))

    assert report.cycle.duration_s == 300
    assert report.never_synced == {Priority.LOW: 200 - report.cycle.syncs}
    assert report.overdue > 0
    assert report.longest_overdue_s == 300


def test_the_time_after_the_cycle_is_measured_by_itself() -> None:
    report = simulated(
        Crowd(tenants=20, mix=Mix(critical=100, high=0, normal=0, low=0)), after=timedelta(hours=2)
    )

    assert report.after is not None
    assert report.after.duration_s == 7_200
    assert report.after.syncs_per_s == pytest.approx(report.wanted_per_s, rel=0.06)
    assert report.after.lags[0].median_s < 15


@pytest.mark.parametrize(("tenants", "minutes"), [(100, 5), (1_000, 60)])
def test_the_defaults_meet_the_promised_cycle(tenants: int, minutes: int) -> None:
    """With two seconds a sync. Ten thousand tenants need more than three syncs at once."""
    report = simulated(Crowd(tenants=tenants))

    assert not report.never_synced
    assert report.cycle.duration_s < minutes * 60


class StoppedClock:
    """An `emailsync.ports.Clock` that the test moves."""

    def __init__(self) -> None:
        self.passed = timedelta()

    def now(self) -> datetime:
        return START + self.passed

    def monotonic(self) -> float:
        return self.passed.total_seconds()


async def claimed(store: MemoryLeaseStore, limit: int, share: int | None = None) -> list[str]:
    request = ClaimRequest(queue=QueueName.HIGH, limit=limit, tenant_share=share)
    return [job.key.tenant_id for job in await store.claim(request)]


async def test_claims_take_tenants_in_turns_with_what_they_hold_counted_in() -> None:
    store = MemoryLeaseStore(StoppedClock())
    for number in range(10):
        store.add(job_of("crowd", number))
    assert await claimed(store, 2) == ["crowd", "crowd"]
    for number in range(3):
        store.add(job_of("small", number))

    assert await claimed(store, 4) == ["small", "small", "crowd", "small"]
    assert await claimed(store, 10, share=5) == ["crowd", "crowd"]


async def test_a_lease_that_ran_out_can_be_claimed_and_was_announced() -> None:
    clock = StoppedClock()
    store = MemoryLeaseStore(clock, lease=timedelta(seconds=60))
    store.add(job_of("a"))
    assert await claimed(store, 5) == ["a"]
    assert await claimed(store, 5) == []
    assert await store.next_due(QueueName.HIGH) == START + timedelta(seconds=60)

    clock.passed = timedelta(seconds=60)

    assert await claimed(store, 5) == ["a"]
