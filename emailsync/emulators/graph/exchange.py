"""A request and its answer apart from HTTP: what a part of a batch is too."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emailsync.emulators.graph.odata import Preferences

OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call."""

    method: str
    path: str  #: percent-encoded, from the slash after the version on: "/me/messages"
    query: Mapping[str, str]
    headers: Mapping[str, str]  #: by lower-case name
    body: Any  #: parsed JSON; None without
    base_url: str  #: up to the version, which is not in it; without a slash at the end

    @property
    def preferences(self) -> Preferences:
        """What the Prefer header asks for."""
        return Preferences.parse(self.headers.get("prefer", ""))

    @property
    def token(self) -> str:
        """The bearer token; "" without one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered: JSON, or bytes of a type."""

    status: int = OK
    body: dict[str, Any] | bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
