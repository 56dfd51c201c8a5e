"""What parsing one message costs on either path, as multiples of the compiled parser alone.

python tests/bench/mime.py

Messages of a generated mailbox, median 7 KB; CPU time, best of five, in turn in one run.
"""

import email
import time
from collections.abc import Callable, Sequence
from email.policy import compat32
from statistics import median

from fast_mail_parser import parse_email

from emailsync.emulators.mail_generator import generate
from emailsync.mime.fast import Refused, parse_fast
from emailsync.mime.tolerant import parse_tolerantly

MESSAGES = 2_000
ROUNDS = 5


def with_standard_library(raw: bytes) -> None:
    message = email.message_from_bytes(raw, policy=compat32)
    for part in message.walk():
        part.get_payload(decode=True)


def is_refused(raw: bytes) -> bool:
    try:
        parse_fast(raw)
    except Refused:
        return True
    return False


def cpu_us(parse: Callable[[bytes], object], mails: Sequence[bytes]) -> float:
    started = time.process_time()
    for raw in mails:
        parse(raw)
    return (time.process_time() - started) / len(mails) * 1e6


def main() -> None:
    mails = [generate(7, index, recipient="a@b.example").raw for index in range(MESSAGES)]
    accepted = [raw for raw in mails if not is_refused(raw)]
    print(f"{MESSAGES} messages, median {median(map(len, mails)):,.0f} bytes,", end=" ")
    print(f"{MESSAGES - len(accepted)} refused by the fast path")

    paths: dict[str, Callable[[bytes], object]] = {
        "compiled parser alone": parse_email,
        "fast path": parse_fast,
        "tolerant path": parse_tolerantly,
        "standard library, undecoded headers": with_standard_library,
    }
    best = dict.fromkeys(paths, float("inf"))
    for _ in range(ROUNDS):
        for name, parse in paths.items():
            best[name] = min(best[name], cpu_us(parse, accepted))
    for name, cost in best.items():
        print(f"{name:36} {cost:8.0f} us {cost / best['compiled parser alone']:6.1f} x")


if __name__ == "__main__":
    main()
