"""Tenants take turns, by weight, whenever they come."""

from collections import Counter
from heapq import heapify, heappop, heappush

import pytest

from emailsync.domain.accounts import TenantId
from emailsync.domain.fairness import FairClock, Turns
from emailsync.domain.priority import QueueName

A, B = TenantId("a"), TenantId("b")


def served(clock: FairClock, tags: list[tuple[float, int, TenantId]], turns: int) -> list[TenantId]:
    """Serve the smallest tags first, as a queue does."""
    heapify(tags)
    order = []
    for _ in range(turns):
        tag, _, tenant = heappop(tags)
        clock.advance(tag)
        order.append(tenant)
    return order


def test_one_job_waits_for_at_most_two_of_ten_that_were_queued_before_it() -> None:
    clock = FairClock()
    tags = [(clock.tag(A, 1), index, A) for index in range(10)]
    tags.append((clock.tag(B, 1), 10, B))

    order = served(clock, tags, 11)

    assert order.index(B) <= 2


def test_one_job_waits_for_at_most_two_of_ten_of_which_some_are_running_already() -> None:
    clock = FairClock()
    tags = [(clock.tag(A, 1), index, A) for index in range(10)]
    served(clock, tags, 4)

    tags.append((clock.tag(B, 1), 10, B))
    order = served(clock, tags, 7)

    assert order.index(B) <= 2


def test_a_tenant_of_twice_the_weight_gets_twice_the_turns() -> None:
    clock = FairClock()
    tags = [(clock.tag(A, 2), index, A) for index in range(100)]
    tags += [(clock.tag(B, 1), 100 + index, B) for index in range(100)]

    turns = Counter(served(clock, tags, 90))

    assert turns[A] == pytest.approx(60, abs=1)
    assert turns[B] == pytest.approx(30, abs=1)


def test_a_tenant_that_was_away_has_saved_no_turns() -> None:
    clock = FairClock()
    clock.tag(B, 1)
    served(clock, [(clock.tag(A, 1), index, A) for index in range(50)], 50)

    tags = [(clock.tag(B, 1), index, B) for index in range(10)]
    tags += [(clock.tag(A, 1), 10 + index, A) for index in range(10)]
    turns = Counter(served(clock, tags, 10))

    assert 4 <= turns[A] <= 6


def test_tenants_whose_turns_are_over_are_forgotten() -> None:
    clock = FairClock()
    tags: list[tuple[float, int, TenantId]] = []
    most = 0
    for index in range(20_000):
        tenant = TenantId(str(index % 5_000))
        heappush(tags, (clock.tag(tenant, 1), index, tenant))
        if len(tags) > 20:
            clock.advance(heappop(tags)[0])
        most = max(most, len(clock))

    clock.rest()

    assert most <= 5_000
    assert len(clock) == 0


def test_a_weight_that_would_stop_a_tenant_for_ever_is_refused() -> None:
    with pytest.raises(ValueError, match="weight"):
        FairClock().tag(A, 0)


def test_queues_take_turns_by_weight_and_none_waits_for_long() -> None:
    turns = Turns()
    weights = {QueueName.HIGH: 5, QueueName.NORMAL: 3, QueueName.LOW: 2}

    order = [turns.next(weights) for _ in range(100)]

    assert Counter(order) == {QueueName.HIGH: 50, QueueName.NORMAL: 30, QueueName.LOW: 20}
    assert all(QueueName.LOW in order[start : start + 6] for start in range(95))


def test_a_queue_that_wants_no_turn_takes_none() -> None:
    turns = Turns()

    order = [turns.next({QueueName.LOW: 2}) for _ in range(3)]

    assert order == [QueueName.LOW] * 3
