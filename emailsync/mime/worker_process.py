"""The daemon's end of one worker: starts it, gives it a message, and kills it when in doubt.

Each worker has pipes of its own. Pools that share a pipe between their workers (pebble,
concurrent.futures) break as a whole when one of them is killed in the middle of a message.
"""

import asyncio
import os
import pickle
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self, cast

from emailsync.domain.mail import ParsedMessage
from emailsync.mime.worker import EXIT_OUT_OF_MEMORY, READY, REPLY, REQUEST

START_TIMEOUT_S: Final = 30.0  #: an interpreter starts in 0.2 s; a machine under load takes longer
_STOP_TIMEOUT_S: Final = 1.0
_SLICE_BYTES: Final = 1024 * 1024  #: given to the pipe at once, so that nothing large is copied
#: The worker handles hostile mail: it sees neither the database's URL nor any other setting.
_PASSED_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG")


class WorkerFailed(Exception):
    """The worker is gone, and with it the message's parse; the text says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What a worker runs, and its limits."""

    task: str = "emailsync.mime.worker:parse"  #: module:function, see worker.Task
    deadline_s: float = 20.0  #: for one message; the slowest legitimate ones take about 2 s
    memory_bytes: int = 1024**3  #: of address space; about eight times the largest message stored


class WorkerProcess:
    """One worker. Serves one message at a time; after any failure it must be killed."""

    def __init__(self, process: Process, settings: WorkerSettings) -> None:
        self._process = process
        self._settings = settings
        self.served = 0  #: messages

    @classmethod
    async def start(cls, settings: WorkerSettings) -> Self:
        """Start a worker and wait until it is ready.

        Raises:
            WorkerFailed: it did not come up.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "emailsync.mime.worker", settings.task),
                *(str(settings.deadline_s), str(settings.memory_bytes)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,  # a traceback may quote mail
                env=_environment(os.environ),
                start_new_session=True,  # a Ctrl-C is for the daemon
            )
        except OSError as error:
            raise WorkerFailed(f"no worker could be started: {error.strerror}") from error
        worker = cls(process, settings)
        try:
            await worker._exchange(None, START_TIMEOUT_S)
        except BaseException:
            await worker.kill()
            raise
        return worker

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process was still there when the loop last looked."""
        return self._process.returncode is None

    async def parse(self, raw: bytes, *, trust_fast: bool) -> ParsedMessage:
        """Have a message parsed.

        Raises:
            WorkerFailed: it took too long, or the worker died of it.
        """
        return cast("ParsedMessage", await self.ask(raw, trust_fast=trust_fast))

    async def ask(self, raw: bytes, *, trust_fast: bool) -> Any:
        """Have the worker's task done on a message; see `parse`."""
        self.served += 1
        message = (REQUEST.pack(trust_fast, len(raw)), raw)
        reply = await self._exchange(message, self._settings.deadline_s)
        return pickle.loads(reply)  # noqa: S301 - written by our own child

    async def kill(self) -> None:
        """End the process at once, whatever it is doing."""
        if self.is_alive:
            self._process.kill()
        await self._close_input()
        await self._process.wait()

    async def stop(self) -> None:
        """Let an idle worker end."""
        await self._close_input()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def _exchange(self, message: tuple[bytes, bytes] | None, deadline_s: float) -> bytes:
        """Send a message and return the reply; without one, wait for the worker to be ready."""
        try:
            async with asyncio.timeout(deadline_s):
                if message is None:
                    return await self._output.readexactly(len(READY))
                await self._send(*message)
                (length,) = REPLY.unpack(await self._output.readexactly(REPLY.size))
                return await self._output.readexactly(length)
        except TimeoutError:
            raise WorkerFailed(f"the parser took over {deadline_s:g} s") from None
        except (EOFError, ConnectionError) as error:
            await self.stop()  # it is ending; to kill it now would lose how it ended
            raise WorkerFailed(_how_it_ended(self._process.returncode)) from error

    async def _send(self, head: bytes, raw: bytes) -> None:
        self._input.write(head)
        with memoryview(raw) as view:
            for start in range(0, len(raw), _SLICE_BYTES):
                self._input.write(view[start : start + _SLICE_BYTES])
                await self._input.drain()

    async def _close_input(self) -> None:
        self._input.close()
        with suppress(ConnectionError):  # the worker was gone before it had read everything
            await self._input.wait_closed()

    @property
    def _input(self) -> asyncio.StreamWriter:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _output(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None
        return self._process.stdout


def _environment(daemon: Mapping[str, str]) -> dict[str, str]:
    return {name: daemon[name] for name in _PASSED_ENVIRONMENT if name in daemon}


def _how_it_ended(returncode: int | None) -> str:
    if returncode == EXIT_OUT_OF_MEMORY:
        return "the parser ran out of memory"
    if returncode is not None and returncode < 0:
        return f"the parser was killed by signal {-returncode}"
    return f"the parser ended with status {returncode}"
