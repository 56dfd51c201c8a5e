"""What a call costs, and when Gmail refuses it because a quota is used up.

Source: developers.google.com/workspace/gmail/api/reference/quota, before and since 2026-05-01.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from emailsync.emulators.gmail.errors import (
    quota_metric_exceeded,
    rate_limit_exceeded,
    user_rate_limit_exceeded,
    user_rate_limit_retry_after,
)
from emailsync.emulators.gmail.exchange import Reply
from emailsync.emulators.usage import TOO_MANY_REQUESTS, Usage

WINDOW: Final = timedelta(minutes=1)
CLASSIC: Final[Mapping[str, int]] = {
    "getProfile": 1,
    "labels.list": 1,
    "labels.get": 1,
    "history.list": 2,
    "messages.list": 5,
    "messages.get": 5,
    "attachments.get": 5,
}
SINCE_2026: Final = {**CLASSIC, "messages.get": 20, "attachments.get": 20}
PRICES: Final[Mapping[str, Mapping[str, int]]] = {"classic": CLASSIC, "2026": SINCE_2026}
USER_UNITS: Final = {"classic": 15_000, "2026": 6_000}  #: a minute
PROJECT_UNITS: Final = 1_200_000  #: a minute


@dataclass(slots=True)
class Quota:
    """Prices and limits; they may be changed at any time. A limit of None is not enforced."""

    prices: Mapping[str, int] = field(default_factory=lambda: SINCE_2026)
    user_units_per_minute: int | None = USER_UNITS["2026"]
    project_units_per_minute: int | None = PROJECT_UNITS
    user_status: int = TOO_MANY_REQUESTS  #: Google answers 403 or 429 for the same quota
    project_status: int = 403

    @classmethod
    def preset(cls, name: str) -> "Quota":
        """Return the limits and prices "2026" or "classic", or "off": nothing is enforced."""
        if name == "off":
            return cls(user_units_per_minute=None, project_units_per_minute=None)
        return cls(PRICES[name], USER_UNITS[name])

    def spend(self, usage: Usage, mailbox: str, method: str) -> Reply | None:
        """Count the call's units; or count nothing and return the refusal."""
        units = self.prices[method]
        refusal: Reply | None = None
        if _exceeds(usage.mailbox_units(mailbox) + units, self.user_units_per_minute):
            refusal = self._user_refusal()
        elif _exceeds(usage.project_units() + units, self.project_units_per_minute):
            refusal = self._project_refusal()
        else:
            usage.spend(mailbox, units)
        return refusal

    def _user_refusal(self) -> Reply:
        if self.user_status == TOO_MANY_REQUESTS:
            return user_rate_limit_retry_after(datetime.now(UTC) + WINDOW)
        return user_rate_limit_exceeded()

    def _project_refusal(self) -> Reply:
        if self.project_status == TOO_MANY_REQUESTS:
            return quota_metric_exceeded("Queries per minute")
        return rate_limit_exceeded()


def _exceeds(units: int, limit: int | None) -> bool:
    return limit is not None and units > limit
