"""Gmail's batches: many calls in one request, as multipart/mixed both ways (guides/batch, 2026).

Pure framing, linear in the bytes: answers are megabytes of base64, for which the standard library's
parser of mail takes longer than Gmail. What a part means is its caller's business.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from emailsync.domain.errors import ServerRefused
from emailsync.providers.http_messages import Answer, ApiRequest

BATCH_PATH: Final = "/batch/gmail/v1"
BOUNDARY: Final = "emailsync_batch"
MAX_HEAD_BYTES: Final = 16_384  #: of the headers of a part; Google sends some hundred

_BOUNDARY: Final = re.compile(r'boundary="?([^";\s]{1,200})', re.IGNORECASE)
_HEAD: Final = re.compile(
    rb"[^\r\n]*\r?\n(?P<outer>(?:[^\r\n]+\r?\n)+)\r?\n"  # rest of the boundary's line, headers
    rb"HTTP/\d(?:\.\d)? (?P<status>\d{3})[^\r\n]*\r?\n(?P<inner>(?:[^\r\n]+\r?\n)*)\r?\n"
)
_NUMBER: Final = re.compile(rb"content-id: *<?response-(\d{1,6})\b", re.IGNORECASE)


def batch_request(paths: Sequence[str]) -> ApiRequest:
    """Return the request that GETs all these paths."""
    parts = (
        f"--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <{number}>\r\n\r\n"
        f"GET {path}\r\n\r\n"
        for number, path in enumerate(paths)
    )
    return ApiRequest(
        "POST",
        BATCH_PATH,
        headers={"Content-Type": f'multipart/mixed; boundary="{BOUNDARY}"'},
        content=f"{''.join(parts)}--{BOUNDARY}--\r\n".encode(),
    )


def batch_answers(answer: Answer) -> dict[int, Answer]:
    """Return the parts by the number of their call; a call may have none.

    Raises:
        ServerRefused: it is no answer to a batch.
    """
    named = _BOUNDARY.search(answer.headers.get("content-type", ""))
    if named is None:
        raise ServerRefused("the answer to a batch is not in parts")
    pieces = (b"\n" + answer.body).split(b"\n--" + named[1].encode())
    # The first piece is a preamble, and what follows the last boundary was cut short.
    return dict(_numbered(pieces[1:-1], answer))


def _numbered(pieces: Sequence[bytes], whole: Answer) -> Iterator[tuple[int, Answer]]:
    for piece in pieces:
        head = _HEAD.match(piece, 0, MAX_HEAD_BYTES)
        number = None if head is None else _NUMBER.search(head["outer"])
        if head is not None and number is not None:
            status = int(head["status"])
            yield (
                int(number[1]),
                Answer(
                    status=status,
                    # Of an answer that is none they say when to come again; else they say nothing.
                    headers={} if status == HTTPStatus.OK else _headers(head["inner"]),
                    body=piece[head.end() :],
                    received_at=whole.received_at,
                ),
            )


def _headers(lines: bytes) -> Mapping[str, str]:
    fields = (line.partition(":") for line in lines.decode("latin-1").splitlines())
    return {name.strip().lower(): value.strip() for name, colon, value in fields if colon}
