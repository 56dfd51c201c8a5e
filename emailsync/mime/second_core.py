"""A worker process that takes part in long pages, where the machine has a second core for it.

Parsing is most of what a first sync computes, and Python computes on one core only. The loop
parses a page from its beginning and the worker from its end, in small batches, until they meet; a
worker that is slow because the core is needed elsewhere just gets less far. Mail that the worker
refuses or dies of is left to the caller.
"""

import asyncio
from collections import deque
from collections.abc import MutableMapping, Sequence
from typing import Final

from emailsync.domain.mail import ParsedMessage
from emailsync.mime.worker_process import WorkerFailed, WorkerProcess, WorkerSettings

LONG_PAGE: Final = 50  #: messages; fewer come with new mail, which needs no second process
BATCH_MESSAGES: Final = 16  #: an exchange costs the loop as much as parsing half a message
BATCH_BYTES: Final = 512 * 1024
MAX_SERVED: Final = 100_000  #: messages a worker sees before a fresh one takes over


class SecondCore:
    """The worker, started when first needed and used by one page at a time."""

    def __init__(self, settings: WorkerSettings, *, cores: int) -> None:
        self._settings = settings
        self._cores = cores
        self._worker: WorkerProcess | None = None
        self._starting: asyncio.Task[None] | None = None
        self._in_use = False

    @property
    def pid(self) -> int | None:
        """The worker's process; None while there is none."""
        return None if self._worker is None else self._worker.pid

    def claim(self, messages: int, group: asyncio.TaskGroup) -> bool:
        """Tell whether a page of so many messages gets the worker, until it is released.

        Where only the worker is missing, it is started in `group`, for the pages to come.
        """
        if messages < LONG_PAGE or self._in_use or self._cores == 1:
            return False
        if self._worker is None and self._starting is None:
            self._starting = group.create_task(self._start(), name="start second parser")
        self._in_use = self._worker is not None
        return self._in_use

    def release(self) -> None:
        """Let other pages have the worker."""
        self._in_use = False

    async def take_part(
        self,
        raws: Sequence[bytes],
        waiting: deque[int],
        parsed: MutableMapping[int, ParsedMessage],
    ) -> None:
        """Parse from the end of `waiting`, which holds positions in `raws`, until it is empty.

        What is taken from it and does not appear in `parsed` was refused.
        """
        assert self._worker is not None, "it was claimed"
        try:
            while waiting:
                batch = _batch(raws, waiting)
                answers = await self._worker.parse_usual([raws[position] for position in batch])
                found = zip(batch, answers, strict=True)
                parsed.update({place: message for place, message in found if message is not None})
            if self._worker.served >= MAX_SERVED:
                await self.stop()
        except WorkerFailed:
            await self._give_up()
        except asyncio.CancelledError:  # what it would answer later, nobody waits for
            await self._give_up()
            raise

    async def _start(self) -> None:
        try:
            self._worker = await WorkerProcess.start(self._settings)
        except WorkerFailed:
            pass  # the next long page tries again; until then the loop parses alone
        finally:
            self._starting = None

    async def stop(self) -> None:
        """Let the worker end; one that is being started is given up."""
        if self._starting is not None:
            self._starting.cancel()
        if self._worker is not None:
            worker, self._worker = self._worker, None
            await worker.stop()

    async def _give_up(self) -> None:
        if self._worker is not None:
            worker, self._worker = self._worker, None
            await worker.kill()


def _batch(raws: Sequence[bytes], waiting: deque[int]) -> Sequence[int]:
    """Take positions from the end: fewer the fewer are left, so that nobody waits at the end."""
    most = max(1, min(BATCH_MESSAGES, len(waiting) // 4))
    batch: list[int] = []
    size = 0
    while waiting and len(batch) < most and size < BATCH_BYTES:
        batch.append(waiting.pop())
        size += len(raws[batch[-1]])
    return batch
