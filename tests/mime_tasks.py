"""What a parser worker can be made to do instead of parsing. Named by module:function."""

import os
import signal
import sys
import time

from emailsync.domain.mail import ParsedMessage
from emailsync.mime.worker import parse


def hang_on_request(raw: bytes, *, trust_fast: bool) -> ParsedMessage:
    """Parse, unless the message asks for something worse."""
    while b"please hang" in raw:
        time.sleep(60)
    return parse(raw, trust_fast=trust_fast)


def die_on_request(raw: bytes, *, trust_fast: bool) -> ParsedMessage:
    """Parse, unless the message asks to be the last one."""
    if b"please die" in raw:
        os.kill(os.getpid(), signal.SIGKILL)
    return parse(raw, trust_fast=trust_fast)


def hoard_on_request(raw: bytes, *, trust_fast: bool) -> ParsedMessage:
    """Parse, unless the message asks for 16 GiB."""
    if b"please hoard" in raw:
        return ParsedMessage(subject=str(len([bytearray(2**24) for _ in range(1_000)])))
    return parse(raw, trust_fast=trust_fast)


def die_of_the_compiled_parser(raw: bytes, *, trust_fast: bool) -> ParsedMessage:
    """Parse tolerantly only."""
    if trust_fast:
        os.abort()
    return parse(raw, trust_fast=trust_fast)


def tell_what_is_seen(raw: bytes, *, trust_fast: bool) -> ParsedMessage:
    """Return the names of the environment's variables, and print something."""
    sys.stdout.write("what a library may print")
    sys.stdout.flush()
    return ParsedMessage(subject=" ".join(sorted(os.environ)))
