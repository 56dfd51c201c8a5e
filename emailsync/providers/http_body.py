"""An answer's body, decoded as it arrives and never larger than asked for.

httpx's own decoders expand whole chunks: 64 KiB on the wire become 64 MiB in memory, and as much
again for each further encoding named. This one stops at the limit.
"""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import anyio.lowlevel

from emailsync.domain.errors import ServerRefused
from emailsync.providers.http_messages import AnswerTooLarge

ENCODINGS: Final = "gzip"  #: what we ask for (Accept-Encoding), and all that we take
PIECE_BYTES: Final = 1024 * 1024  #: expanded at a time: more would hold up everybody else
GZIP_WINDOW: Final = zlib.MAX_WBITS | 16


async def read_body(
    chunks: AsyncIterator[bytes], *, encoding: str, max_bytes: int, server: str
) -> bytes:
    """Return the whole body.

    Args:
        chunks: as they come from the wire.
        encoding: the Content-Encoding header, empty when there is none.
        max_bytes: of the decoded body.
        server: its host, for messages.

    Raises:
        AnswerTooLarge: the decoded body is larger.
        ServerRefused: the encoding is not one we asked for, damaged or cut short.
    """
    decoder = _decoder(encoding, server)
    parts: list[bytes] = []
    room = max_bytes
    async for chunk in chunks:
        for part in decoder.decode(chunk):
            room -= len(part)
            if room < 0:
                raise AnswerTooLarge(f"{server}: the answer is larger than {max_bytes} bytes")
            parts.append(part)
            if len(part) == PIECE_BYTES:
                await anyio.lowlevel.checkpoint()
    decoder.finish()
    return b"".join(parts)


class _Identity:
    def decode(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk

    def finish(self) -> None:
        pass


class _Gzip:
    def __init__(self, damaged: Callable[[], ServerRefused]) -> None:
        self._inflater = zlib.decompressobj(GZIP_WINDOW)
        self._damaged = damaged
        self._is_whole = True  # nothing is a whole body as well: a 204's

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what the chunk expands to, in pieces of up to `PIECE_BYTES`."""
        while True:
            try:
                part = self._inflater.decompress(chunk, PIECE_BYTES)
            except zlib.error as error:
                raise self._damaged() from error
            if self._inflater.unused_data:
                raise self._damaged()
            self._is_whole = self._inflater.eof
            yield part
            if len(part) < PIECE_BYTES or self._is_whole:
                return
            chunk = self._inflater.unconsumed_tail

    def finish(self) -> None:
        if not self._is_whole:
            raise self._damaged()


def _decoder(encoding: str, server: str) -> _Identity | _Gzip:
    match encoding.strip().lower():
        case "" | "identity":
            return _Identity()
        case "gzip" | "x-gzip":  # RFC 9110 section 8.4.1.3: equivalent
            return _Gzip(lambda: ServerRefused(f"{server}: the answer's encoding is damaged"))
        case _:
            raise ServerRefused(f"{server}: the answer has an encoding that we did not ask for")
