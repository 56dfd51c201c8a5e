"""One call to the emulated API and its answer, however they travel: alone or in a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

JSON_TYPE = "application/json; charset=UTF-8"
OK = 200


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked for."""

    method: str  #: of HTTP
    path: str  #: percent-decoded
    query: Mapping[str, Sequence[str]]
    token: str | None  #: the bearer token
    target: str  #: path and query as sent

    def first(self, parameter: str) -> str | None:
        """Return the parameter's first value."""
        return next(iter(self.query.get(parameter, ())), None)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON_TYPE})


class Refused(Exception):
    """The call is answered by an error."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply
