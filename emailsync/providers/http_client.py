"""The way to one provider's HTTP API: one connection pool a provider, shared by all accounts.

What may leave here and where to, how long anything may take and how much may come back is decided
here. Accounts, quota and the meaning of an error are not.

HTTP/1.1 by measurement: a batch of 50 raw messages (2 MB) over TLS on loopback costs 13 ms of our
CPU, and 30 ms over HTTP/2 (httpx 0.28.1, h2 4); the few connections that would be saved cost less.
"""

import re
import ssl
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Final, Self

import anyio
import httpx

from emailsync.crypto import Secret
from emailsync.domain.errors import AuthUnproven, ServerRefused, Unreachable
from emailsync.providers.http_body import ENCODINGS, read_body
from emailsync.providers.http_failures import failure_of_exception
from emailsync.providers.http_messages import Answer, AnswerTooLarge, ApiRequest
from emailsync.providers.json_weight import refuse_heavy
from emailsync.providers.network import tls_context

MAX_ANSWER_BYTES: Final = 20 * 1024 * 1024
"""Unless asked for more: a page of mail in JSON is a few MB. To read as much takes up to 90 ms."""
DEADLINE_S: Final = 120.0  #: from the first byte out to the last byte in
TIMEOUT: Final = httpx.Timeout(connect=10, write=30, read=60, pool=30)
"""Each is the longest silence, not the whole phase; a batch of 50 may take Gmail half a minute."""
LIMITS: Final = httpx.Limits(
    max_connections=500, max_keepalive_connections=100, keepalive_expiry=60
)
"""httpx would close after 5 s, and a poll that finds nothing would pay a TLS handshake each time.
Longer than the providers keep idle connections, requests would fall into their closing."""
USER_AGENT: Final = "emailsync (gzip)"  #: Google compresses only for who says so here as well
BEARER: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  #: RFC 6750 section 2.1


@lru_cache(maxsize=1)
def system_tls() -> ssl.SSLContext:
    """Return the context of all clients: reading the authorities takes tens of milliseconds."""
    return tls_context()


class HttpClient:
    """Sends requests to one host and no other. Used as an async context manager."""

    def __init__(self, base_url: str, *, tls: ssl.SSLContext | None = None) -> None:
        """Make a client that is not yet open.

        Args:
            base_url: of the API, from the settings or the provider's public one.
            tls: a context for HTTP alone, because ALPN is set on it; None: `system_tls`.
        """
        self._base = base_url.rstrip("/")
        self._origin = _origin(httpx.URL(self._base))
        self.host = httpx.URL(self._base).host  #: for messages
        self._client = httpx.AsyncClient(
            verify=tls or system_tls(),
            http2=False,
            trust_env=False,
            follow_redirects=False,
            timeout=TIMEOUT,
            limits=LIMITS,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # accounts share the pool
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": ENCODINGS},
        )
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._client)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    async def send(
        self,
        request: ApiRequest,
        *,
        bearer: Secret | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
        deadline_s: float = DEADLINE_S,
    ) -> Answer:
        """Send one request, once, and return the answer whatever its status.

        Raises:
            Unreachable: no whole answer came, or not in time.
            AnswerTooLarge: the decoded body is larger than `max_bytes`, or JSON of too many values.
            ServerRefused: the request's URL leads to another host; nothing was sent. Or the answer
                cannot be decoded.
            AuthUnproven: the token is none; nothing was sent.
            Retryable: our own connections were all in use.
        """
        prepared = self._prepared(request, bearer)
        try:
            with anyio.fail_after(deadline_s):
                return await self._exchanged(prepared, max_bytes)
        except TimeoutError as error:
            raise Unreachable(f"{self.host}: no answer within {deadline_s:.0f} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise failure_of_exception(error, self.host) from error
        except OSError as error:
            raise Unreachable(f"{self.host}: the connection failed") from error

    async def _exchanged(self, request: httpx.Request, max_bytes: int) -> Answer:
        response = await self._client.send(request, stream=True)
        try:
            announced = response.headers.get("content-length", "0")
            if announced.isdecimal() and int(announced) > max_bytes:
                raise AnswerTooLarge(f"{self.host}: the answer is larger than {max_bytes} bytes")
            body = await read_body(
                response.aiter_raw(),
                encoding=response.headers.get("content-encoding", ""),
                max_bytes=max_bytes,
                server=self.host,
            )
            kind = response.headers.get("content-type", "json")
            await refuse_heavy(body, kind=kind, server=self.host)
        finally:
            await response.aclose()
        return Answer(
            status=response.status_code,
            headers=dict(response.headers.items()),
            body=body,
            received_at=datetime.now(UTC),
        )

    def _prepared(self, request: ApiRequest, bearer: Secret | None) -> httpx.Request:
        headers = dict(request.headers)
        if bearer is not None:
            token = bearer.reveal()
            if not BEARER.fullmatch(token):
                raise AuthUnproven("the stored access token is none: it has foreign characters")
            headers["Authorization"] = f"Bearer {token}"
        return self._client.build_request(
            request.method, self._url(request), headers=headers, content=request.content
        )

    def _url(self, request: ApiRequest) -> httpx.URL:
        """Return the URL to ask; links come from outside and get no token but at the API's host."""
        given = self._base + request.url if request.url.startswith("/") else request.url
        try:
            url = httpx.URL(given)
        except httpx.InvalidURL as error:
            raise failure_of_exception(error, self.host) from error
        except UnicodeError:  # half a surrogate pair, which JSON may hold
            raise ServerRefused(f"{self.host} gave a link that is no URL") from None
        if _origin(url) != self._origin or url.userinfo:
            raise ServerRefused(f"{self.host} gave a link to another host, which is not followed")
        return url.copy_merge_params(list(request.params)) if request.params else url


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    default = {"https": 443, "http": 80}.get(url.scheme)
    return url.scheme, url.host, url.port or default
