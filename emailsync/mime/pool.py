"""Raw messages to what they say, for the event loop: never blocked, never failed by a message.

Small messages are parsed where they are, some large ones in a thread (the compiled parser works
without the GIL); what is refused, huge, or of an account whose mail crashed a daemon before goes
to worker processes. A message that kills its worker twice is stored with its headers only.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from emailsync.domain.mail import ParsedMessage
from emailsync.loop_rounds import Rounds
from emailsync.mime.fast import Refused, parse_fast
from emailsync.mime.tolerant import parse_headers_only
from emailsync.mime.worker_process import WorkerFailed, WorkerProcess, WorkerSettings

MAX_INLINE_BYTES: Final = 1024 * 1024  #: some milliseconds of the loop's time
MAX_THREAD_BYTES: Final = (
    8 * 1024 * 1024
)  #: parsing holds twice the message; workers' memory is cheap
MAX_SERVED: Final = 1_000  #: messages a worker sees before a fresh one takes over


class MimeParser:
    """Parses mail for all syncs of a daemon. Workers are started when first needed."""

    def __init__(self, *, workers: int = 2, worker_settings: WorkerSettings | None = None) -> None:
        self._settings = worker_settings or WorkerSettings()
        self._slots = asyncio.Semaphore(workers)
        self._idle: list[WorkerProcess] = []
        self._rounds = Rounds()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End the workers. A worker whose caller was cancelled is gone already."""
        while self._idle:
            await self._idle.pop().stop()

    @property
    def worker_pids(self) -> Sequence[int]:
        """The processes that wait for work."""
        return [worker.pid for worker in self._idle]

    async def parse(self, raw: bytes, *, careful: bool = False) -> ParsedMessage:
        """Return what a message says. Never raises for the message's sake.

        Args:
            raw: the message as the provider gave it.
            careful: nothing of it may be parsed in this process.
        """
        (parsed,) = await self.parse_page((raw,), careful=careful)
        return parsed

    async def parse_page(
        self, raws: Sequence[bytes], *, careful: bool = False
    ) -> list[ParsedMessage]:
        """Return one parsed message a raw one, in order; see `parse`."""
        parsed = {} if careful else await self._parse_usual(raws)
        await self._parse_rest(raws, parsed, careful=careful)
        return [parsed[position] for position in range(len(raws))]

    async def _parse_usual(self, raws: Sequence[bytes]) -> dict[int, ParsedMessage]:
        """Parse what the compiled parser takes, one message in a round of the loop.

        However many pages are being parsed, sockets are served between two messages: a statement
        of megabytes needs dozens of rounds to reach the database, which waits for it meanwhile.
        """
        parsed: dict[int, ParsedMessage] = {}
        for position, raw in enumerate(raws):
            if len(raw) > MAX_THREAD_BYTES:
                continue
            await self._rounds.next()
            with suppress(Refused):
                parsed[position] = await _parse_here(raw)
        return parsed

    async def _parse_rest(
        self, raws: Sequence[bytes], parsed: dict[int, ParsedMessage], *, careful: bool
    ) -> None:
        async def parse_one(position: int, raw: bytes) -> None:
            trust_fast = careful or len(raw) > MAX_THREAD_BYTES
            parsed[position] = await self._parse_in_worker(raw, trust_fast=trust_fast)

        async with asyncio.TaskGroup() as group:
            for position, raw in enumerate(raws):
                if position not in parsed:
                    group.create_task(parse_one(position, raw), name=f"parse {position}")

    async def _parse_in_worker(self, raw: bytes, *, trust_fast: bool) -> ParsedMessage:
        """Try twice, the second time without the compiled parser."""
        how = ""
        for may_use_compiled in (trust_fast, False):
            async with self._slots:
                try:
                    return await self._ask_worker(raw, trust_fast=may_use_compiled)
                except WorkerFailed as failure:
                    how = str(failure)
        return parse_headers_only(raw, f"body not read: {how}")

    async def _ask_worker(self, raw: bytes, *, trust_fast: bool) -> ParsedMessage:
        worker = await self._free_worker()
        try:
            parsed = await worker.parse(raw, trust_fast=trust_fast)
        except BaseException:  # cancelled too: what it would answer later, nobody waits for
            await worker.kill()
            raise
        if worker.served < MAX_SERVED:
            self._idle.append(worker)
        else:
            await worker.stop()
        return parsed

    async def _free_worker(self) -> WorkerProcess:
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                return worker
            await worker.kill()
        return await WorkerProcess.start(self._settings)


async def _parse_here(raw: bytes) -> ParsedMessage:
    """Parse in this process; see parse_fast for what it raises."""
    if len(raw) <= MAX_INLINE_BYTES:
        return parse_fast(raw)
    return await asyncio.to_thread(parse_fast, raw)
