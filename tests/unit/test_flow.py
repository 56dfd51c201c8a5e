"""`check` reckons with flows what `simulate` plays through: both must come to the same."""

from math import exp

import pytest

from emailsync.config import Settings
from emailsync.domain.accounts import ProviderType
from emailsync.simulation.flow import full_cycle
from emailsync.simulation.population import Crowd, Mix
from emailsync.simulation.run import SPREAD, Plan, simulate

SYNC_S = 2.0  #: median
MEAN_S = SYNC_S * exp(SPREAD**2 / 2)
ALL = tuple(ProviderType)
IMAP = (ProviderType.IMAP,)
URGENT = Mix(critical=40, high=30, normal=20, low=10)
LOW = {"concurrency": 2, "limiter_max": 3, "attempts": 1, "backoff_ms": 0}
WIDER = {"limits": {"imap": {"concurrent": 10}}, "queues": {"low": LOW | {"concurrency": 6}}}
SLOW = {"queues": {"low": LOW | {"limiter_max": 20, "limiter_duration_ms": 60_000}}}


@pytest.mark.parametrize(
    ("tenants", "kinds", "mix", "changes"),
    [
        (100, IMAP, Mix(), {}),
        (100, ALL, Mix(), {}),
        (500, IMAP, Mix(), {}),
        (500, IMAP, Mix(), WIDER),
        (500, ALL, URGENT, {}),
        (300, ALL, Mix(), SLOW),
    ],
)
def test_flows_come_to_what_the_simulation_plays_through(
    tenants: int, kinds: tuple[ProviderType, ...], mix: Mix, changes: dict[str, object]
) -> None:
    settings = Settings.model_validate(changes)
    crowd = Crowd(tenants=tenants, provider_types=kinds, mix=mix)

    reckoned = full_cycle(settings, crowd, sync_s=MEAN_S, within_s=7_200)
    played = simulate(settings, Plan(crowd=crowd, sync_s=SYNC_S))

    assert reckoned.duration_s == pytest.approx(played.cycle.duration_s, rel=0.15)


def test_who_is_due_again_makes_the_cycle_of_many_longer_than_their_number_tells() -> None:
    small, large = (
        full_cycle(
            Settings(),
            Crowd(tenants=tenants, provider_types=IMAP),
            sync_s=MEAN_S,
            within_s=100 * 3_600,
        ).duration_s
        for tenants in (500, 5_000)
    )

    assert small is not None
    assert large is not None
    assert large > 12 * small


def test_a_cycle_that_takes_longer_than_one_looks_has_no_time_but_a_cause() -> None:
    cycle = full_cycle(
        Settings(), Crowd(tenants=10_000, provider_types=IMAP), sync_s=MEAN_S, within_s=14_400
    )

    assert cycle.duration_s is None
    assert cycle.held_up_by == "limits.imap.concurrent"
