"""Batches: many calls in one HTTP request, each with an answer of its own, in any order.

Source: developers.google.com/workspace/gmail/api/guides/batch.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from random import Random
from urllib.parse import parse_qs, unquote, urlsplit

from emailsync.emulators.gmail.exchange import Call, Reply

MAX_PARTS = 100
PATHS = ("/batch/gmail/v1", "/batch")

_BOUNDARY = re.compile(r'multipart/mixed\b.*;\s*boundary="?([^";]+)"?', re.IGNORECASE)
_EMPTY_LINE = re.compile(rb"\r?\n\r?\n")


class BadBatch(ValueError):
    """The request as a whole cannot be read."""


@dataclass(frozen=True, slots=True)
class Part:
    """One call of a batch."""

    content_id: str | None  #: without angle brackets
    call: Call


def parse_batch(content_type: str, body: bytes, token: str | None) -> Sequence[Part]:
    """Return the calls; `token` is that of the whole request, which a part may replace.

    Raises:
        BadBatch: it is no batch, or an empty or too large one.
    """
    boundary = _BOUNDARY.match(content_type)
    if boundary is None:
        raise BadBatch("Failed to parse batch request: it is not multipart/mixed with a boundary.")
    pieces = body.split(b"--" + boundary[1].encode("latin-1"))
    if not pieces[-1].startswith(b"--"):
        raise BadBatch("Failed to parse batch request: it does not end.")
    calls = pieces[1:-1]
    if not 1 <= len(calls) <= MAX_PARTS:
        raise BadBatch(f"The batch has {len(calls)} calls; 1 to {MAX_PARTS} are allowed.")
    return [_part(piece, token) for piece in calls]


def _part(piece: bytes, token: str | None) -> Part:
    head, *rest = _EMPTY_LINE.split(piece.lstrip(b"\r\n"), maxsplit=1)
    headers = _headers(head.decode("latin-1").splitlines())
    if headers.get("content-type", "").partition(";")[0].strip() != "application/http" or not rest:
        raise BadBatch("Failed to parse batch request: a part is not application/http.")
    request_line, *lines = rest[0].decode("latin-1").splitlines()
    method, _, target = request_line.removesuffix(" HTTP/1.1").partition(" ")
    content_id = headers.get("content-id")
    inner = _headers(lines)
    return Part(
        content_id=None if content_id is None else content_id.strip("<>"),
        call=read_call(method, target, bearer_token(inner.get("authorization")) or token),
    )


def _headers(lines: Sequence[str]) -> Mapping[str, str]:
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def read_call(method: str, target: str, token: str | None) -> Call:
    """Return the call that a request line asks for."""
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    return Call(method, unquote(url.path), query, token, target)


def bearer_token(authorization: str | None) -> str | None:
    """Return the token of an Authorization header (RFC 6750 section 2.1)."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def render_batch(
    parts: Sequence[Part], replies: Sequence[Reply], random: Random
) -> tuple[str, bytes]:
    """Return the Content-Type and the body of the answer, whose parts come in random order."""
    boundary = f"batch_{random.getrandbits(128):032x}"
    pieces = [_reply(part, reply) for part, reply in zip(parts, replies, strict=True)]
    random.shuffle(pieces)
    delimiter = f"--{boundary}\r\n".encode()
    end = f"--{boundary}--\r\n".encode()
    body = b"".join([*(octets for piece in pieces for octets in (delimiter, *piece)), end])
    return f"multipart/mixed; boundary={boundary}", body


def _reply(part: Part, reply: Reply) -> Sequence[bytes]:
    head = ["Content-Type: application/http"]
    if part.content_id is not None:
        head.append(f"Content-ID: <response-{part.content_id}>")
    head += [
        "",
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
        *(f"{name}: {value}" for name, value in reply.headers.items()),
        f"Content-Length: {len(reply.body)}",
        "",
        "",
    ]
    return "\r\n".join(head).encode("latin-1"), reply.body, b"\r\n"
