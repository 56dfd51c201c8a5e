"""What a process has used, as Linux counts it (proc(5))."""

import os
import re
from contextlib import suppress
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the user and system time of a process without its children, in seconds."""
    # The second field is the program's name in parentheses and may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def resident_bytes(pid: int) -> int:
    """Return the memory in use now."""
    return _status_bytes(pid, "VmRSS")


def peak_resident_bytes(pid: int) -> int:
    """Return the most memory ever in use."""
    return _status_bytes(pid, "VmHWM")


def _status_bytes(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:  # a process that has ended but was not waited for has no memory
        raise ProcessLookupError(f"process {pid} has no {name}")
    return int(found.group(1)) * 1024


def family(pid: int) -> list[int]:
    """Return a process and all that it has started, as far as they live."""
    found = [pid]
    for member in found:  # grows while it is gone through
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            with suppress(OSError):  # the thread has ended meanwhile
                found += map(int, children.read_text().split())
    return found
