"""Partial responses: `fields=messages(id,threadId),nextPageToken` selects parts of a JSON answer.

Source: developers.google.com/workspace/gmail/api/guides/performance, "Working with partial
resources".
"""

import re
from collections.abc import Mapping
from typing import Any

Selection = Mapping[str, "Selection"]  #: empty: the whole value

_TOKEN = re.compile(r"[A-Za-z0-9_*]+|[,()/]")
ANY = "*"


class BadSelection(ValueError):
    """The expression cannot be read."""


def parse_selection(expression: str) -> Selection:
    """Return what the expression selects.

    Raises:
        BadSelection: see there.
    """
    tokens = _TOKEN.findall(expression)
    if "".join(tokens) != expression.replace(" ", ""):
        raise BadSelection(expression)
    selection = _items(tokens)
    if tokens:
        raise BadSelection(expression)
    return selection


def select(value: Any, selection: Selection) -> Any:
    """Return the selected parts of a JSON value; what is not there is no error."""
    if not selection:
        return value
    if isinstance(value, list):
        return [select(element, selection) for element in value]
    if not isinstance(value, dict):
        return value
    return {
        key: select(inner, selection.get(key, selection.get(ANY, {})))
        for key, inner in value.items()
        if key in selection or ANY in selection
    }


def _items(tokens: list[str]) -> dict[str, Selection]:
    """Take a list of paths off the front of the tokens."""
    items: dict[str, Selection] = {}
    while True:
        name, inner = _path(tokens)
        items[name] = inner
        if not tokens or tokens[0] != ",":
            return items
        tokens.pop(0)


def _path(tokens: list[str]) -> tuple[str, Selection]:
    if not tokens or tokens[0] in ",()/":
        raise BadSelection("a name is missing")
    name = tokens.pop(0)
    if tokens and tokens[0] == "/":
        tokens.pop(0)
        return name, dict([_path(tokens)])
    if tokens and tokens[0] == "(":
        tokens.pop(0)
        inner = _items(tokens)
        if not tokens or tokens.pop(0) != ")":
            raise BadSelection("a parenthesis is not closed")
        return name, inner
    return name, {}
