"""A process that parses messages one at a time for the daemon, and may die of any of them.

It is started by `pool` and speaks through its standard input and output. Its memory is limited,
it takes no signals meant for the daemon, and it ends when the daemon does: at the end of its
input, or by its own alarm when a message keeps it from noticing.
"""

import importlib
import math
import os
import pickle
import resource
import signal
import struct
import sys
from contextlib import suppress
from typing import Any, BinaryIO, Final, Protocol

from emailsync.domain.mail import ParsedMessage
from emailsync.mime.fast import Refused, parse_fast
from emailsync.mime.tolerant import parse_tolerantly

READY: Final = b"\x01"  #: sent once, when the worker waits for its first message
REQUEST: Final = struct.Struct("!?Q")  #: whether the compiled parser may be used; length
REPLY: Final = struct.Struct("!Q")  #: length of the pickled result
EXIT_OUT_OF_MEMORY: Final = 3
_GRACE_S: Final = 2  #: the daemon's deadline comes first; the alarm is for an orphan


class Task(Protocol):
    """What a worker does with a message."""

    def __call__(self, raw: bytes, *, trust_fast: bool) -> Any:
        """Return what is made of the message; `trust_fast`: the compiled parser may try first."""


def parse(raw: bytes, *, trust_fast: bool) -> ParsedMessage:
    """Parse whatever these bytes are."""
    if trust_fast:
        with suppress(Refused):
            return parse_fast(raw)
    return parse_tolerantly(raw)


def main() -> None:
    """Serve until the input ends. Arguments: module:function, deadline in s, memory in bytes."""
    task_name, deadline_s, memory_bytes = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # systemd sends it to the whole unit
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold mail
    module, _, function = task_name.partition(":")
    task: Task = getattr(importlib.import_module(module), function)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up between the replies
    try:
        _serve(task, sys.stdin.buffer, replies, alarm_s=math.ceil(deadline_s) + _GRACE_S)
    except MemoryError:
        os._exit(EXIT_OUT_OF_MEMORY)


def _serve(task: Task, requests: BinaryIO, replies: BinaryIO, *, alarm_s: int) -> None:
    replies.write(READY)
    replies.flush()
    while len(request := requests.read(REQUEST.size)) == REQUEST.size:
        trust_fast, length = REQUEST.unpack(request)
        raw = requests.read(length)
        signal.alarm(alarm_s)
        reply = pickle.dumps(task(raw, trust_fast=trust_fast), pickle.HIGHEST_PROTOCOL)
        signal.alarm(0)
        del raw
        replies.write(REPLY.pack(len(reply)))
        replies.write(reply)
        replies.flush()


if __name__ == "__main__":
    main()
