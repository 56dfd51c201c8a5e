"""An account that is late is late for a known reason, or it is stalled."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emailsync.domain.accounts import AccountStatus
from emailsync.domain.circuit import Circuit, CircuitState
from emailsync.domain.freshness import HELD_AT_MOST, PATIENCE_AT_LEAST, Activity, Situation

NOW = datetime(2026, 1, 2, tzinfo=UTC)
INTERVAL = timedelta(hours=1)
SECOND = timedelta(seconds=1)
IDLE = Situation(
    now=NOW,
    status=AccountStatus.ACTIVE,
    is_active=True,
    is_failing=False,
    created_at=NOW - timedelta(days=9),
    last_synced_at=NOW - timedelta(minutes=59),
    next_sync_at=NOW + timedelta(minutes=1),
    leased_at=None,
    circuit=Circuit(),
    endpoint_circuit=Circuit(),
)


def opened(retry_at: datetime) -> Circuit:
    return Circuit(CircuitState.OPEN, 5, retry_at)


@pytest.mark.parametrize(
    ("changes", "activity"),
    [
        ({}, Activity.IDLE),
        ({"next_sync_at": NOW}, Activity.DUE),
        ({"next_sync_at": NOW - INTERVAL + SECOND}, Activity.DUE),
        ({"next_sync_at": NOW - INTERVAL}, Activity.STALLED),
        ({"is_failing": True}, Activity.WAITING),
        ({"next_sync_at": NOW - INTERVAL, "is_failing": True}, Activity.STALLED),
        ({"next_sync_at": NOW - INTERVAL, "circuit": opened(NOW + SECOND)}, Activity.WAITING),
        (
            {"next_sync_at": NOW - INTERVAL, "endpoint_circuit": opened(NOW + SECOND)},
            Activity.WAITING,
        ),
        ({"next_sync_at": NOW - INTERVAL, "circuit": opened(NOW - SECOND)}, Activity.DUE),
        ({"leased_at": NOW, "next_sync_at": NOW - 2 * INTERVAL}, Activity.SYNCING),
        ({"leased_at": NOW - HELD_AT_MOST}, Activity.STALLED),
        ({"status": AccountStatus.PAUSED, "next_sync_at": NOW - INTERVAL}, Activity.STOPPED),
        ({"is_active": False, "next_sync_at": NOW - INTERVAL}, Activity.STOPPED),
    ],
)
def test_the_activity_follows_from_the_situation(
    changes: dict[str, Any], activity: Activity
) -> None:
    situation = replace(IDLE, **changes)

    assert situation.activity(INTERVAL) is activity


def test_a_short_interval_is_given_some_patience() -> None:
    late = replace(IDLE, next_sync_at=NOW - PATIENCE_AT_LEAST + SECOND)

    assert late.activity(timedelta(minutes=5)) is Activity.DUE
    assert replace(late, now=NOW + SECOND).activity(timedelta(minutes=5)) is Activity.STALLED


@pytest.mark.parametrize(
    ("changes", "next_try_at"),
    [
        ({}, IDLE.next_sync_at),
        ({"next_sync_at": NOW - SECOND}, None),
        ({"circuit": opened(NOW + INTERVAL)}, NOW + INTERVAL),
        ({"next_sync_at": NOW - INTERVAL, "endpoint_circuit": opened(NOW + SECOND)}, NOW + SECOND),
        ({"leased_at": NOW}, None),
        ({"status": AccountStatus.NEEDS_RECONNECT}, None),
    ],
)
def test_the_next_try_lies_ahead_or_there_is_none(
    changes: dict[str, Any], next_try_at: datetime | None
) -> None:
    assert replace(IDLE, **changes).next_try_at == next_try_at


@pytest.mark.parametrize(
    ("changes", "unsynced_for"),
    [
        ({}, timedelta()),
        ({"last_synced_at": NOW - 3 * INTERVAL}, 2 * INTERVAL),
        ({"last_synced_at": None, "created_at": NOW - 2 * INTERVAL}, INTERVAL),
        ({"last_synced_at": NOW - 3 * INTERVAL, "status": AccountStatus.PAUSED}, timedelta()),
    ],
)
def test_age_counts_from_the_last_sync_and_beyond_the_interval(
    changes: dict[str, Any], unsynced_for: timedelta
) -> None:
    assert replace(IDLE, **changes).unsynced_for(INTERVAL) == unsynced_for
