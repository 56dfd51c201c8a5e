"""An attachment's bytes, taken once more from the bytes of its message.

What is stored of an attachment is its place and its hash. The hash recognises it; the place is for
those that could not be decoded whole, which have none. Large messages are read in a worker
process: decoding one would hold the daemon up for half a second.
"""

import hashlib
import struct
from collections.abc import AsyncIterator
from typing import Final

import anyio

from emailsync.mime.headers import split_headers
from emailsync.mime.message import is_body
from emailsync.mime.structure import read_parts
from emailsync.mime.tolerant import with_line_feeds
from emailsync.mime.worker_process import WorkerFailed, WorkerProcess, WorkerSettings

MAX_INLINE_BYTES: Final = 512 * 1024  #: some milliseconds of the loop's time
WANTED: Final = struct.Struct("!I?32s")  #: position, whether there is a hash, the hash
WORKER: Final = WorkerSettings(task="emailsync.mime.attachments:extract")


class AttachmentFinder:
    """Finds attachments for all who ask, one large message at a time; one a daemon."""

    def __init__(self) -> None:
        self._large_lane = anyio.Semaphore(1)

    async def find(
        self, pieces: AsyncIterator[bytes], *, size_bytes: int, position: int, sha256: bytes | None
    ) -> bytes | None:
        """Return the attachment's bytes; None: they cannot be had from the message.

        Args:
            pieces: the bytes of the message.
            size_bytes: of the message.
            position: of the attachment among the message's.
            sha256: of the attachment; None: it was not intact.
        """
        wanted = WANTED.pack(position, sha256 is not None, sha256 or b"")
        if size_bytes <= MAX_INLINE_BYTES:
            return extract(await _joined(wanted, pieces))
        async with self._large_lane:
            return await _in_worker(await _joined(wanted, pieces))


async def _joined(wanted: bytes, pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([wanted, *[piece async for piece in pieces]])


async def _in_worker(request: bytes) -> bytes | None:
    try:
        worker = await WorkerProcess.start(WORKER)
        try:
            content: bytes | None = await worker.ask(request, trust_fast=False)
        finally:
            await worker.kill()
    except WorkerFailed:
        return None
    return content


def extract(request: bytes, *, trust_fast: bool = False) -> bytes | None:
    """Return the bytes of one attachment; None: there is no such one. See `worker.Task`.

    Args:
        request: WANTED, and the message behind it.
        trust_fast: is for tasks that parse.
    """
    del trust_fast
    position, has_hash, sha256 = WANTED.unpack_from(request)
    raw = with_line_feeds(request[WANTED.size :])
    in_place: bytes | None = None
    attachments = 0
    for index, part in enumerate(read_parts(raw, split_headers(raw), [])):
        if is_body(part, index):
            continue
        if has_hash and hashlib.sha256(part.content).digest() == sha256:
            return part.content
        if attachments == position:
            in_place = part.content
        attachments += 1
    return in_place
