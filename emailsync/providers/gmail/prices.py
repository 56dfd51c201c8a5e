"""What Gmail charges for each method, in quota units. Data; who counts them is in quota.py.

Two lists are in force: projects that used the API before May 2026 keep the classic one for now.
Source: developers.google.com/workspace/gmail/api/reference/quota, 2026.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Quota units a call; a call inside a batch costs the same."""

    get_profile: int = 1
    list_labels: int = 1
    get_label: int = 1
    list_history: int = 2
    list_messages: int = 5
    get_message: int  #: in whatever format


PRICES: Final[Mapping[str, Prices]] = MappingProxyType(
    {"2026": Prices(get_message=20), "classic": Prices(get_message=5)}
)
