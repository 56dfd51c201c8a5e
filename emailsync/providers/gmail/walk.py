"""A walk through the whole mailbox, page by page, and where it stands between two syncs.

The first sync is one, and so is what follows when the history has expired. While it goes on the
history is read as ever, so a walk needs no more than its own place.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import orjson


class Stage(StrEnum):
    """What a walk does next."""

    LISTING = "listing"  #: list all messages and fetch those that are not stored
    MAILBOX = "mailbox"  #: compare what is there at all, and the flags
    LABELS = "labels"  #: compare label by label who has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The place of a walk that is under way."""

    stage: Stage = Stage.LISTING
    at: str = ""
    """LISTING: the token of the next page, "" for the first. LABELS: the last label compared."""
    compares: bool = False  #: mail is stored already that may have changed unnoticed
    is_shifted: bool = False
    """Messages were deleted while they were listed: the pages that follow may have moved up past
    the place, if a token is a number of messages. So they are listed once more."""

    def token(self) -> str:
        """Return what is stored of it."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def from_token(cls, token: str | None) -> "Walk | None":
        """Return the walk that is under way, if any; one that cannot be read begins anew."""
        if not token:
            return None
        try:
            values: dict[str, Any] = orjson.loads(token)
            return cls(**{**values, "stage": Stage(values["stage"])})
        except (ValueError, TypeError, KeyError):
            return cls(compares=True)
