"""What every failure of HTTP means to us: httpx's exceptions and the statuses, both in one place.

A provider's own error codes are read before this table, see AccountClient. No message repeats what
a server wrote, a URL or a token.

| status                         | means                                              |
|--------------------------------|----------------------------------------------------|
| 2xx                            | an answer                                          |
| 401                            | AuthUnproven: refused without saying why           |
| 408                            | Unreachable                                        |
| 429, 509                       | Throttled, for as long as it asks                  |
| 503, 504 with a Retry-After    | Throttled                                          |
| any other 5xx                  | Unreachable                                        |
| 1xx, 3xx, any other 4xx        | ServerRefused; redirects are never followed        |
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import httpx

from emailsync.domain.errors import (
    AuthUnproven,
    Misconfigured,
    Retryable,
    ServerRefused,
    SyncError,
    Throttled,
    Unreachable,
)
from emailsync.providers.http_messages import Answer

BANDWIDTH_EXCEEDED: Final = 509  #: Microsoft Graph's; not in the IANA registry
SERVER_ERRORS: Final = range(500, 600)
SUCCESSES: Final = range(200, 300)

EXCEPTIONS: Final[Mapping[type[Exception], tuple[type[SyncError], str]]] = {
    httpx.HTTPError: (Unreachable, "the request failed"),
    httpx.RequestError: (Unreachable, "the request failed"),
    httpx.TransportError: (Unreachable, "the connection failed"),
    httpx.TimeoutException: (Unreachable, "no answer in time"),
    httpx.ConnectTimeout: (Unreachable, "no connection in time"),
    httpx.ReadTimeout: (Unreachable, "no answer in time"),
    httpx.WriteTimeout: (Unreachable, "the request was not taken in time"),
    httpx.PoolTimeout: (Retryable, "all our connections to it stayed in use"),
    httpx.NetworkError: (Unreachable, "the connection failed"),
    httpx.ConnectError: (Unreachable, "no connection: DNS, TCP or TLS failed"),
    httpx.ReadError: (Unreachable, "the connection broke while reading"),
    httpx.WriteError: (Unreachable, "the connection broke while writing"),
    httpx.CloseError: (Unreachable, "the connection did not close"),
    httpx.ProxyError: (Unreachable, "a proxy refused"),
    httpx.UnsupportedProtocol: (Misconfigured, "its URL is neither http nor https"),
    httpx.ProtocolError: (Unreachable, "the answer breaks the rules of HTTP"),
    httpx.RemoteProtocolError: (Unreachable, "the answer was cut short or is not HTTP"),
    httpx.LocalProtocolError: (ServerRefused, "the request breaks the rules of HTTP"),
    httpx.DecodingError: (ServerRefused, "the answer's encoding is damaged"),
    httpx.TooManyRedirects: (ServerRefused, "it redirects without end"),
    httpx.HTTPStatusError: (ServerRefused, "it refused"),
    httpx.InvalidURL: (ServerRefused, "it gave a link that is no URL"),
}


def failure_of_exception(error: Exception, server: str) -> SyncError:
    """Return what an exception of httpx means.

    Args:
        error: any of `EXCEPTIONS`, or of a subclass that a later httpx brings.
        server: its host, for the message.
    """
    known = next(kind for kind in type(error).__mro__ if kind in EXCEPTIONS)
    decision, text = EXCEPTIONS[known]
    return decision(f"{server}: {text}")


def failure_of_answer(answer: Answer, server: str) -> SyncError | None:
    """Return why an answer is none, by its status alone; None: it is one."""
    status, message = answer.status, f"{server} answered {answer.status}"
    if status in SUCCESSES:
        return None
    if status == HTTPStatus.UNAUTHORIZED:
        return AuthUnproven(f"{server} refused the access token")
    if status in {HTTPStatus.TOO_MANY_REQUESTS, BANDWIDTH_EXCEEDED}:
        return Throttled(message, answer.retry_after)
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}:
        wait = answer.retry_after
        return Unreachable(message) if wait is None else Throttled(message, wait)
    if status in SERVER_ERRORS or status == HTTPStatus.REQUEST_TIMEOUT:
        return Unreachable(message)
    return ServerRefused(message)
