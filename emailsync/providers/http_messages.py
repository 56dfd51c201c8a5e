"""What a provider's HTTP API is asked and what it answers. Knows neither sockets nor accounts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from emailsync.domain.errors import ServerRefused
from emailsync.domain.retry_after import retry_after


class AnswerTooLarge(ServerRefused):
    """The body is larger than was asked for, or too much to read; asking for less may help."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request, without the token: AccountClient adds it."""

    method: str
    url: str  #: a path under the base URL, beginning with "/", or a link that the provider gave
    params: Sequence[tuple[str, str]] = ()  #: appended to the URL; names may repeat
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One whole answer, or one part of a batch's answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  #: names in lower case
    body: bytes = field(repr=False)  #: decoded
    received_at: datetime  #: by our clock, aware UTC; a part has that of the whole

    @property
    def retry_after(self) -> timedelta | None:
        """The wait that the answer asks for in its headers; None: it names none."""
        return retry_after(
            self.headers.get("retry-after"), date=self.headers.get("date"), now=self.received_at
        )

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object.

        Raises:
            ServerRefused: it is none: a proxy's HTML page, or cut short.
        """
        kind = self.headers.get("content-type", "json")
        value = _parsed(self.body) if "json" in kind.lower() else None
        if not isinstance(value, dict):
            raise ServerRefused(f"the answer ({self.status}) is not the JSON object it should be")
        return value


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    # One subject with half a surrogate pair would cost a page of mail: the standard library's
    # parser lets it pass, and the store replaces it.
    try:
        return json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
