"""What framing and parsing one message costs, without a server: CPU, best of five.

python tests/bench/bench_imap_wire.py
"""

import time
from collections.abc import Callable

from emailsync.providers.imap.framing import Framer
from emailsync.providers.imap.parse import parse

CHUNK_BYTES = 256 * 1024  #: what asyncio reads at once
MESSAGES = 5_000
DATE = b'INTERNALDATE "01-Jan-2024 10:00:00 +0100"'


def flags(n: int) -> bytes:
    return b"* %d FETCH (UID %d MODSEQ (%d) FLAGS (\\Seen \\Answered))\r\n" % (n, n, n + 10**10)


def overview(n: int) -> bytes:
    return b"* %d FETCH (UID %d RFC822.SIZE %d FLAGS (\\Seen) %s)\r\n" % (n, n, n, DATE)


def body(size: int) -> Callable[[int], bytes]:
    content = b"x" * size
    return lambda n: b"* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n" % (n, n, size, content)


def cpu_s(stream: bytes) -> float:
    framer = Framer(max_literal_bytes=2**26)
    started = time.process_time()
    for at in range(0, len(stream), CHUNK_BYTES):
        for response in framer.feed(stream[at : at + CHUNK_BYTES]):
            parse(response)
    return time.process_time() - started


def main() -> None:
    shapes = {"flags": flags, "overview": overview}
    shapes |= {f"body of {size} bytes": body(size) for size in (2_000, 7_000, 25_700)}
    for name, shape in shapes.items():
        stream = b"".join(map(shape, range(1, MESSAGES + 1)))
        best = min(cpu_s(stream) for _ in range(5))
        print(
            f"{name:20} {best / MESSAGES * 1e6:6.2f} us each {len(stream) / best / 1e6:7.0f} MB/s"
        )


if __name__ == "__main__":
    main()
