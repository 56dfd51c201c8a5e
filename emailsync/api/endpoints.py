"""The table of the API: an entry for each method of each path, and nothing answers without one.

An entry says who may ask, what is answered and which function does it; what is sent, the function's
signature says. Routing, authorisation, validation, the OpenAPI document and the test of all routes
are made of the table.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, Final, Generic, TypeAlias, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from emailsync.domain.access import Grant, Scope

ANY_METHOD: Final = "*"
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
"""What the document lists for any method; HEAD comes with GET."""


class Sent(BaseModel):
    """Base of what clients send, in the address or as a body: unknown names are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(Sent):
    """No values."""


class Anything(Sent):
    """Whatever is sent: what is not named counts for nothing."""

    model_config = ConfigDict(extra="ignore")


Path = TypeVar("Path", bound=Sent)
Query = TypeVar("Query", bound=Sent)
Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call(Generic[Path, Query, Body]):
    """One request, checked: whoever asks may ask this, and everything sent is valid."""

    request: Request
    grant: Grant
    path: Path
    query: Query
    body: Body


PlainCall: TypeAlias = Call[Nothing, Nothing, Nothing]
Handler: TypeAlias = Callable[[Any], Awaitable[Response]]  #: of one argument named `call`, a Call
Content: TypeAlias = type[BaseModel] | str | None
"""What a body is: JSON of a model, a media type, or not there."""


class Access(Enum):
    """Who may ask."""

    OPEN = frozenset[Scope]()  #: anybody, without a token
    ANY_TOKEN = frozenset(Scope)
    METRICS = frozenset({Scope.ADMIN, Scope.METRICS})
    TENANT = frozenset({Scope.ADMIN, Scope.TENANT})  #: a tenant's token sees its own things only
    ADMIN = frozenset({Scope.ADMIN})

    def allows(self, scope: Scope) -> bool:
        """Tell whether a token of this scope opens it."""
        return scope in self.value


@dataclass(frozen=True)
class Endpoint:
    """What one method of one path does.

    Args:
        method: of HTTP, or ANY_METHOD; HEAD comes with GET.
        route: the path, its parameters in braces, each of them a segment.
        access: who may ask.
        summary: what it does, a line in the document.
        handler: does it; raises `Refused` for what it declines.
        answers: content by status. The statuses of errors that follow from the rest are known.
    """

    method: str
    route: str
    access: Access
    summary: str
    handler: Handler
    answers: Mapping[int, Content]

    @property
    def methods(self) -> Collection[str]:
        """The methods that it answers."""
        return METHODS if self.method == ANY_METHOD else (self.method,)

    @property
    def path(self) -> type[Sent]:
        """What is sent in the path."""
        return self._sent[0]

    @property
    def query(self) -> type[Sent]:
        """What is sent in the query."""
        return self._sent[1]

    @property
    def body(self) -> type[BaseModel]:
        """What is sent as JSON."""
        return self._sent[2]

    @cached_property
    def _sent(self) -> tuple[type[Sent], type[Sent], type[BaseModel]]:
        path, query, body = get_args(get_type_hints(self.handler)["call"])
        return path, query, body


Table: TypeAlias = Collection[Endpoint]
