"""The parser as the event loop sees it: real worker processes, really killed."""

import asyncio
import base64
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import process_time

import pytest
import uvloop

from emailsync.domain.mail import ParsedMessage
from emailsync.mime.pool import MAX_THREAD_BYTES, MimeParser
from emailsync.mime.worker_process import WorkerSettings

TESTS = Path(__file__).parents[2]
PLAIN = b"Subject: plain\r\n\r\nbody\r\n"
#: Refused by the fast path.
ODD = b"Subject: odd\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8\r\n"
MAX_LAG_S = 0.1


@pytest.fixture(autouse=True)
def importable_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the workers import mime_tasks."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


def parser(task: str, *, deadline_s: float = 20.0, workers: int = 1) -> MimeParser:
    settings = WorkerSettings(
        task=f"mime_tasks:{task}", deadline_s=deadline_s, memory_bytes=256 * 1024 * 1024
    )
    return MimeParser(workers=workers, worker_settings=settings)


@asynccontextmanager
async def measured_lag() -> AsyncIterator[list[float]]:
    """Collect how late the loop was for a task that wants its turn every millisecond.

    Late by this process's own doing: time that other processes took of the machine is not counted.
    """
    lags: list[float] = []

    async def tick() -> None:
        while True:
            before = process_time()
            await asyncio.sleep(0.001)
            lags.append(process_time() - before)

    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(tick())
        await asyncio.sleep(0)
        yield lags
        await asyncio.sleep(0.002)  # the tick that was held up longest may still be due
        ticking.cancel()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_daemon_that_meets_only_usual_mail_starts_no_process() -> None:
    async with MimeParser() as mime:
        parsed = await mime.parse_page([PLAIN] * 10)

        assert [message.subject for message in parsed] == ["plain"] * 10
        assert not mime.worker_pids


async def test_a_page_keeps_its_order_whichever_way_its_messages_take() -> None:
    long = PLAIN + b"x\r\n" * 200_000

    async with MimeParser() as mime:
        parsed = await mime.parse_page([ODD, PLAIN, long, ODD, b"", PLAIN])

    assert [message.subject for message in parsed] == [
        "odd",
        "plain",
        "plain",
        "odd",
        None,
        "plain",
    ]
    assert parsed[0].body_text == "hello"


async def test_a_careful_account_is_parsed_in_workers_only() -> None:
    async with MimeParser() as mime:
        parsed = await mime.parse(PLAIN, careful=True)

        assert parsed.subject == "plain"
        assert mime.worker_pids


async def test_the_workers_end_with_the_parser() -> None:
    async with MimeParser() as mime:
        await mime.parse_page([ODD] * 4)
        pids = mime.worker_pids

    assert len(pids) == 2
    assert not any(is_running(pid) for pid in pids)


async def test_a_message_that_hangs_its_worker_costs_only_itself() -> None:
    async with parser("hang_on_request", deadline_s=0.3, workers=2) as mime:
        hanging, fine = await mime.parse_page([b"Subject: please hang\r\n\r\n", ODD], careful=True)

    assert hanging.subject == "please hang"
    assert hanging.parse_error == "body not read: the parser took over 0.3 s"
    assert fine.body_text == "hello"


async def test_a_message_that_kills_its_worker_costs_only_itself() -> None:
    async with parser("die_on_request") as mime:
        deadly, fine = await mime.parse_page([b"Subject: please die\r\n\r\n", ODD], careful=True)

    assert deadly.subject == "please die"
    assert deadly.parse_error == "body not read: the parser was killed by signal 9"
    assert fine.body_text == "hello"


async def test_a_message_that_takes_all_memory_costs_only_itself() -> None:
    async with parser("hoard_on_request") as mime:
        greedy, fine = await mime.parse_page([b"Subject: please hoard\r\n\r\n", ODD], careful=True)

    assert greedy.parse_error == "body not read: the parser ran out of memory"
    assert fine.body_text == "hello"


async def test_what_crashes_the_compiled_parser_is_tried_again_without_it() -> None:
    async with parser("die_of_the_compiled_parser") as mime:
        parsed = await mime.parse(PLAIN, careful=True)

    assert (parsed.body_text, parsed.parse_error) == ("body", None)


async def test_an_idle_worker_that_was_killed_is_replaced_unnoticed() -> None:
    async with MimeParser(workers=1) as mime:
        await mime.parse(ODD)
        (pid,) = mime.worker_pids
        os.kill(pid, signal.SIGKILL)

        parsed = await mime.parse(ODD)

        assert (parsed.body_text, parsed.parse_error) == ("hello", None)
        assert mime.worker_pids != [pid]


async def test_a_worker_killed_in_the_middle_of_a_message_costs_a_second_try_only() -> None:
    message = PLAIN + b"x" * (MAX_THREAD_BYTES * 8)

    async with MimeParser(workers=1) as mime:
        await mime.parse(ODD)
        (pid,) = mime.worker_pids
        async with asyncio.TaskGroup() as group:
            parsing = group.create_task(mime.parse(message))
            await asyncio.sleep(0)
            os.kill(pid, signal.SIGKILL)

    assert parsing.result().subject == "plain"
    assert parsing.result().body_text is not None


async def test_a_caller_that_gives_up_leaves_no_worker_behind() -> None:
    async with parser("hang_on_request") as mime:
        await mime.parse(PLAIN, careful=True)
        (pid,) = mime.worker_pids
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await mime.parse(b"Subject: please hang\r\n\r\n", careful=True)

        assert not mime.worker_pids
        assert not is_running(pid)
        assert (await mime.parse(PLAIN, careful=True)).subject == "plain"


async def test_a_worker_that_cannot_start_is_an_error_on_the_message() -> None:
    async with parser("no_such_task") as mime:
        parsed = await mime.parse(PLAIN, careful=True)

    assert parsed.subject == "plain"
    assert parsed.parse_error == "body not read: the parser ended with status 1"


async def test_a_worker_sees_no_setting_and_may_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL_SYNC_DATABASE_URL", "postgresql://secret")

    async with parser("tell_what_is_seen") as mime:
        parsed = await mime.parse_page([PLAIN, PLAIN], careful=True)

    assert "EMAIL_SYNC_DATABASE_URL" not in (parsed[0].subject or "")
    assert parsed[0] == parsed[1]


def attached(size_bytes: int) -> bytes:
    content = base64.encodebytes(random.Random(0).randbytes(size_bytes)).replace(b"\n", b"\r\n")
    return (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
        b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + content + b"--b--\r\n"
    )


@pytest.mark.parametrize(
    "message",
    [
        attached(37_000_000),
        PLAIN + b"All work and no play\r\n" * 1_200_000,
        PLAIN + b"\n--" * 80_000,
    ],
    ids=["50 MB attached", "26 MB of text", "delimiters"],
)
async def test_the_loop_goes_on_while_a_large_message_is_parsed(message: bytes) -> None:
    async with MimeParser() as mime:
        await mime.parse(ODD)  # the worker's start is not measured
        async with measured_lag() as lags:
            parsed = await mime.parse(message)

    assert parsed.body_text is not None
    assert max(lags) < MAX_LAG_S


async def test_the_loop_goes_on_while_a_page_is_parsed() -> None:
    page = [attached(150_000)] * 100

    async with MimeParser() as mime, measured_lag() as lags:
        await mime.parse_page(page)
        ticks_meanwhile = len(lags)

    assert ticks_meanwhile
    assert max(lags) < MAX_LAG_S


def test_workers_serve_the_loop_the_daemon_runs_on() -> None:
    async def parse() -> ParsedMessage:
        async with MimeParser() as mime:
            await mime.parse(ODD)
            return await mime.parse(PLAIN + b"x" * (MAX_THREAD_BYTES + 1))

    parsed = uvloop.run(parse())

    assert parsed.subject == "plain"
