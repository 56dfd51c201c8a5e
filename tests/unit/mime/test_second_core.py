"""Long pages are parsed by two processes, and nobody sees which."""

import asyncio
import os
import signal

import pytest

from emailsync.emulators.mail_generator import generate
from emailsync.mime.fast import parse_fast
from emailsync.mime.pool import MimeParser
from emailsync.mime.second_core import LONG_PAGE
from emailsync.mime.worker_process import WorkerSettings

PATIENCE_S = 30
USUAL = [
    b"Subject: %d\r\nFrom: Ann <ann@example.test>\r\n\r\nbody %d\r\n" % (n, n) for n in range(400)
]
#: Refused by the compiled parser.
ODD = b"Subject: odd\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8\r\n"


async def second_process(mime: MimeParser) -> int:
    """Return the process that takes part in long pages, once there is one."""
    async with asyncio.timeout(PATIENCE_S):
        while mime.second_pid is None:
            await mime.parse_page(USUAL)
    return mime.second_pid


async def test_a_long_page_reads_the_same_whoever_parsed_it() -> None:
    mail = [generate(3, n, recipient="a@example.test").raw for n in range(200)]
    page = [*mail[:100], ODD, *mail[100:], ODD]
    async with MimeParser(cores=2) as shared, MimeParser(cores=1) as alone:
        await second_process(shared)
        together = [await shared.parse_page(page) for _ in range(3)]
        by_itself = await alone.parse_page(page)

        assert alone.second_pid is None

    assert together == [by_itself] * 3


async def test_pages_that_are_not_long_start_no_process() -> None:
    async with MimeParser(cores=2) as mime:
        await mime.parse_page(USUAL[: LONG_PAGE - 1])

        assert mime.second_pid is None


async def test_two_long_pages_at_once_share_one_process() -> None:
    async with MimeParser(cores=2) as mime:
        await second_process(mime)
        first, second = await asyncio.gather(mime.parse_page(USUAL), mime.parse_page(USUAL[::-1]))

    assert first == second[::-1] == [parse_fast(raw) for raw in USUAL]


async def test_a_second_process_that_was_killed_costs_nothing_and_is_replaced() -> None:
    async with MimeParser(cores=2) as mime:
        killed = await second_process(mime)
        os.kill(killed, signal.SIGKILL)

        after_the_kill = await mime.parse_page(USUAL)

        assert await second_process(mime) != killed
    assert after_the_kill == [parse_fast(raw) for raw in USUAL]


async def test_a_second_process_that_is_stopped_holds_nobody_up_for_ever() -> None:
    """What it was given is parsed by others after the deadline."""
    settings = WorkerSettings(deadline_s=1)
    async with MimeParser(cores=2, worker_settings=settings) as mime:
        os.kill(await second_process(mime), signal.SIGSTOP)

        parsed = await mime.parse_page(USUAL)

    assert parsed == [parse_fast(raw) for raw in USUAL]


async def test_a_caller_that_gives_up_leaves_no_second_process_behind() -> None:
    async with MimeParser(cores=2) as mime:
        pid = await second_process(mime)
        os.kill(pid, signal.SIGSTOP)  # so that the page is not done before the caller gives up
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await mime.parse_page(USUAL)

        assert mime.second_pid is None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
