"""Units in a window, in virtual time: what the server may count, and who goes first."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emailsync.domain.errors import QuotaSpent, Retryable
from emailsync.providers.sliding_window import GRAINS, SlidingWindow
from emailsync.simulation.virtual_time import run_virtually

WINDOW_S = 60.0
ROUNDING_S = 1e-6  #: virtual times are sums of floats: a whole window later may look like less
LIMIT = 100


@dataclass(frozen=True)
class Request:
    """One request of a simulated session."""

    after_s: float  #: since the start
    units: int
    latency_s: float
    arrives: float  #: when in its latency the server counts it, as a fraction


@dataclass
class Server:
    """Counts units when a request arrives, which only it knows."""

    counted: list[tuple[float, int]] = field(default_factory=list)

    async def answer(self, request: Request) -> None:
        await anyio.sleep(request.latency_s * request.arrives)
        self.counted.append((anyio.current_time(), request.units))
        await anyio.sleep(request.latency_s * (1 - request.arrives))

    def peak(self) -> int:
        """Return the most units in any window; the fullest ones end with a request."""
        return max(
            (
                sum(units for at, units in self.counted if end - WINDOW_S + ROUNDING_S < at <= end)
                for end, _ in self.counted
            ),
            default=0,
        )


requests = st.builds(
    Request,
    after_s=st.floats(0, 200),
    units=st.integers(1, LIMIT),
    latency_s=st.floats(0, 90),
    arrives=st.floats(0, 1),
)


def a_window(limit: Callable[[], float] = lambda: LIMIT) -> SlidingWindow:
    return SlidingWindow("mailbox's", limit, WINDOW_S)


async def send(window: SlidingWindow, server: Server, request: Request) -> None:
    """Send one request as a session would: it comes back when told that units have freed."""
    await anyio.sleep(request.after_s)
    while True:
        try:
            await window.take(request.units, until=anyio.current_time() + 2)
        except QuotaSpent as spent:
            await anyio.sleep(spent.frees_in.total_seconds())
        else:
            break
    try:
        await server.answer(request)
    finally:
        window.answered(request.units)


async def together(tasks: Iterable[Callable[[], Awaitable[None]]]) -> None:
    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(task)


@settings(deadline=None, max_examples=200)
@given(st.lists(requests, max_size=30))
def test_no_window_of_the_server_ever_holds_more_than_the_limit(plan: list[Request]) -> None:
    """Whatever the latency, and wherever in it the server counts."""
    window, server = a_window(), Server()

    async def run() -> None:
        async with anyio.create_task_group() as group:
            for request in plan:
                group.start_soon(send, window, server, request)

    run_virtually(run())

    assert server.peak() <= LIMIT
    assert sum(units for _, units in server.counted) == sum(request.units for request in plan)


def test_a_hungry_sender_gets_what_the_limit_allows() -> None:
    """The caution costs little: under a tenth at a latency of half a second."""
    window, server = a_window(), Server()
    request = Request(after_s=0, units=10, latency_s=0.5, arrives=0.5)

    async def run() -> None:
        with anyio.move_on_after(20 * WINDOW_S):
            while True:
                await send(window, server, request)

    run_virtually(run())

    used = sum(units for _, units in server.counted)
    assert used >= 0.9 * 20 * LIMIT
    assert server.peak() <= LIMIT


def test_units_count_from_before_the_request_until_a_window_after_its_answer() -> None:
    window = a_window()

    async def run() -> None:
        await window.take(LIMIT, until=0)
        await anyio.sleep(50)
        with pytest.raises(QuotaSpent) as unanswered:
            await window.take(1, until=anyio.current_time() + 2)
        window.answered(LIMIT)
        with pytest.raises(QuotaSpent) as answered:
            await window.take(1, until=anyio.current_time() + 2)

        assert unanswered.value.frees_in >= timedelta(seconds=WINDOW_S)
        assert 0 < answered.value.frees_in.total_seconds() - WINDOW_S <= WINDOW_S / GRAINS

    run_virtually(run())


def test_a_short_wait_is_waited_in_place() -> None:
    window = a_window()

    async def run() -> float:
        await window.take(LIMIT, until=0)
        window.answered(LIMIT)
        await anyio.sleep(WINDOW_S - 1)
        await window.take(LIMIT, until=anyio.current_time() + 2)
        return anyio.current_time()

    assert WINDOW_S < run_virtually(run()) < WINDOW_S + 1


def test_what_was_not_sent_is_free_at_once() -> None:
    window = a_window()

    async def run() -> None:
        await window.take(LIMIT, until=0)
        window.unsent(LIMIT)
        await window.take(LIMIT, until=anyio.current_time())

    run_virtually(run())


def test_a_large_request_is_not_overtaken_by_small_ones_that_come_later() -> None:
    window = a_window()
    served: list[int] = []

    async def ask(units: int, after_s: float) -> None:
        await anyio.sleep(after_s)
        await window.take(units, until=anyio.current_time() + 2)
        served.append(units)
        window.answered(units)

    async def run() -> None:
        await window.take(60, until=0)
        window.answered(60)
        await anyio.sleep(WINDOW_S - 1)
        await together(
            [
                lambda: ask(90, 0),
                lambda: ask(1, 0.1),
                lambda: ask(2, 0.2),
            ]
        )

    run_virtually(run())

    assert served == [90, 1, 2]


def test_who_comes_behind_waiters_that_will_use_up_the_units_is_told_at_once() -> None:
    window = a_window()
    told_after_s: list[float] = []

    async def run() -> None:
        await window.take(LIMIT, until=0)
        window.answered(LIMIT)
        await anyio.sleep(WINDOW_S - 1)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: window.take(LIMIT, until=anyio.current_time() + 2))
            await anyio.sleep(0.1)
            asked_at = anyio.current_time()
            with pytest.raises(QuotaSpent):
                await window.take(1, until=asked_at + 2)
            told_after_s.append(anyio.current_time() - asked_at)

    run_virtually(run())

    assert told_after_s == [0]


def test_a_cancelled_waiter_leaves_no_trace() -> None:
    window = a_window()

    async def run() -> None:
        await window.take(LIMIT, until=0)
        window.answered(LIMIT)
        await anyio.sleep(WINDOW_S - 1)
        with anyio.move_on_after(0.5):
            await window.take(LIMIT, until=anyio.current_time() + 2)
        await anyio.sleep(2)
        await window.take(LIMIT, until=anyio.current_time())

    run_virtually(run())


def test_nobody_is_served_during_a_pause_and_a_shorter_one_does_not_end_it() -> None:
    window = a_window()

    async def run() -> None:
        window.pause(timedelta(minutes=10))
        window.pause(timedelta(minutes=1))
        with pytest.raises(QuotaSpent) as spent:
            await window.take(1, until=anyio.current_time() + 2)
        await anyio.sleep(600)
        await window.take(1, until=anyio.current_time())

        assert spent.value.frees_in == timedelta(minutes=10)

    run_virtually(run())


def test_a_new_limit_is_in_force_at_once_for_those_who_wait_too() -> None:
    limit = [LIMIT]
    window = a_window(lambda: limit[0])

    async def run() -> None:
        await window.take(LIMIT, until=0)
        window.answered(LIMIT)
        with pytest.raises(QuotaSpent):
            await window.take(10, until=anyio.current_time() + 2)
        limit[0] = 2 * LIMIT
        await window.take(10, until=anyio.current_time())
        limit[0] = LIMIT // 2
        with pytest.raises(QuotaSpent):
            await window.take(10, until=anyio.current_time() + 2)

    run_virtually(run())


def test_a_request_that_no_wait_makes_possible_is_a_failure_that_people_see() -> None:
    async def run() -> None:
        with pytest.raises(Retryable, match="more than our mailbox's quota"):
            await a_window().take(LIMIT + 1, until=0)

    run_virtually(run())


def test_a_window_remembers_no_more_than_its_grains() -> None:
    window = SlidingWindow("project's", lambda: 1_000_000, WINDOW_S)

    async def run() -> None:
        for _ in range(20_000):
            await window.take(1, until=anyio.current_time())
            await anyio.sleep(0.01)
            window.answered(1)

        assert len(window._answered) <= GRAINS + 2
        assert not window.is_idle
        await anyio.sleep(WINDOW_S + 1)
        assert window.is_idle

    run_virtually(run())
