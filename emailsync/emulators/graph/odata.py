"""Query options and preferences of a request, parsed and checked against what an entity has."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from emailsync.emulators.graph.errors import bad_query, unknown_property

DEFAULT_PAGE_SIZE = 10
MAX_PAGE_SIZE = 1000
IMMUTABLE = "ImmutableId"

_PREFERENCE = re.compile(r'\s*([\w.-]+)\s*(?:=\s*(?:"([^"]*)"|([^,;\s]*)))?\s*(?:[,;]|$)')
_EXPANSION = re.compile(r"(\w+)(?:\((.*)\))?$", re.DOTALL)
_EXTENDED = re.compile(r"id\s+eq\s+'([^']+)'")
_COMPARISON = re.compile(r"receivedDateTime\s+(ge|gt|le|lt)\s+(\S+)$")


@dataclass(frozen=True, slots=True)
class Preferences:
    """The Prefer header (RFC 7240)."""

    page_size: int | None = None
    immutable_ids: bool = False
    body_type: str | None = None  #: "text" or "html"
    unsafe_html: bool = False

    @classmethod
    def parse(cls, header: str) -> "Preferences":
        """Return what is understood of the header; preferences may be ignored."""
        found = {name.lower(): quoted or bare for name, quoted, bare in _PREFERENCE.findall(header)}
        size = found.get("odata.maxpagesize", "")
        body_type = found.get("outlook.body-content-type", "").lower()
        return cls(
            page_size=min(int(size), MAX_PAGE_SIZE) if size.isdecimal() and int(size) else None,
            immutable_ids=found.get("idtype", "").lower() == IMMUTABLE.lower(),
            body_type=body_type if body_type in {"text", "html"} else None,
            unsafe_html="outlook.allow-unsafe-html" in found,
        )

    def applied(self) -> str:
        """Return the Preference-Applied header; "" when nothing was asked for."""
        names = []
        if self.page_size:
            names.append(f"odata.maxpagesize={self.page_size}")
        if self.immutable_ids:
            names.append(f'IdType="{IMMUTABLE}"')
        if self.body_type:
            names.append(f'outlook.body-content-type="{self.body_type}"')
        if self.unsafe_html:
            names.append("outlook.allow-unsafe-html")
        return ", ".join(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of an entity is to be returned."""

    select: Sequence[str] | None = None  #: None: the entity's default
    expand: Mapping[str, Sequence[str] | None] = field(default_factory=dict)
    """Navigation properties with their own $select."""
    extended: Sequence[str] = ()  #: ids of MAPI properties


def parse_selection(
    query: Mapping[str, str], entity: str, properties: Collection[str], expandable: Collection[str]
) -> Selection:
    """Return what $select and $expand ask for.

    Raises:
        GraphError: 400 for a property that the entity does not have.
    """
    expand: dict[str, Sequence[str] | None] = {}
    extended: list[str] = []
    for part in _split(query.get("$expand", ""), ","):
        match = _EXPANSION.match(part)
        if match is None or match[1] not in {*expandable, "singleValueExtendedProperties"}:
            raise unknown_property(part, entity)
        if match[1] == "singleValueExtendedProperties":
            extended += _EXTENDED.findall(match[2] or "")
        else:
            options = dict(option.split("=", 1) for option in _split(match[2] or "", ";"))
            expand[match[1]] = _names(options.get("$select"))
    select = _names(query.get("$select"))
    for name in select or ():
        if name not in properties:
            raise unknown_property(name, entity)
    return Selection(select=select, expand=expand, extended=extended)


def _names(value: str | None) -> Sequence[str] | None:
    names = [name.strip() for name in (value or "").split(",") if name.strip()]
    return names or None


def _split(text: str, separator: str) -> Sequence[str]:
    """Split at separators that stand outside parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def parse_received_filter(
    text: str, operators: Collection[str] = ("ge", "gt", "le", "lt")
) -> Callable[[datetime], bool]:
    """Return the test that a $filter on receivedDateTime means; "" lets everything pass.

    Raises:
        GraphError: 400 for any other filter.
    """
    tests = []
    for part in filter(None, re.split(r"\s+and\s+", text.strip())):
        match = _COMPARISON.match(part)
        if match is None or match[1] not in operators:
            raise bad_query(f"The query filter '{part}' is not supported.")
        tests.append(_comparison(match[1], _instant(match[2])))
    return lambda instant: all(test(instant) for test in tests)


def _comparison(operator: str, bound: datetime) -> Callable[[datetime], bool]:
    return {
        "ge": lambda instant: instant >= bound,
        "gt": lambda instant: instant > bound,
        "le": lambda instant: instant <= bound,
        "lt": lambda instant: instant < bound,
    }[operator]


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise bad_query(f"'{text}' is not a date and time.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def parse_number(query: Mapping[str, str], option: str, default: int, most: int) -> int:
    """Return the number of $top or $skip.

    Raises:
        GraphError: 400 when it is none, or out of bounds.
    """
    text = query.get(option, str(default))
    if not text.isdecimal() or int(text) > most:
        raise bad_query(f"The value '{text}' of {option} must be between 0 and {most}.")
    return int(text)
