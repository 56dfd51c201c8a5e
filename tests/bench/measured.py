"""One program run to its end and what it took, as the kernel counts it."""

import os
import select
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from process_usage import peak_resident_bytes

SAMPLE_S = 0.05  #: between two looks at the memory
#: As after an installation: Python keeps what it has compiled, even where this shell forbids it.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


class RunFailedError(Exception):
    """A measured program did not do its work, so its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a program has used."""

    wall_s: float
    cpu_s: float  #: with the children that it waited for
    peak_resident_bytes: int  #: of the program alone


def run_measured(command: Sequence[str | Path], *, cwd: Path) -> Usage:
    """Run a command with nothing left to be written to the disk from before.

    Raises:
        RunFailedError: it exits with another code than 0; the message has what it said.
    """
    os.sync()
    output = cwd / "output"
    with output.open("wb") as said:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        peak = _watch_memory(process.pid)
        wall_s = time.perf_counter() - started
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = output.read_text(errors="replace")[-3000:]
        raise RunFailedError(f"{command[0]} exited with {process.returncode}:\n{tail}")
    return Usage(wall_s, usage.ru_utime + usage.ru_stime, peak)


def _watch_memory(pid: int) -> int:
    """Return the peak when the process has ended.

    The kernel's own figure of a child that has ended (`ru_maxrss`) begins with what the parent
    had in use.
    """
    peak = 0
    ended = os.pidfd_open(pid)
    try:
        while not select.select([ended], [], [], SAMPLE_S)[0]:
            with suppress(ProcessLookupError):  # it ended since
                peak = max(peak, peak_resident_bytes(pid))
    finally:
        os.close(ended)
    return peak
