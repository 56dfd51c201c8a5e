"""The tokens of one account as they are stored, and when they are to be renewed.

Pure: knows the names under which credentials are stored, and no provider. Times are of the wall
clock, since they outlive the process; a clock that is wrong costs a renewal too early, or one
refusal by the API, which renews as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from emailsync.crypto import Secret

RENEW_AFTER: Final = 0.8  #: share of a token's life after which it is renewed
MARGIN: Final = timedelta(minutes=1)  #: before its end a token is not begun with any more
UNKNOWN_LIFE_MARGIN: Final = timedelta(minutes=5)  #: the same when its life is not known
CLOCK_SKEW: Final = timedelta(minutes=15)  #: a token from further ahead in time tells nothing
LOST_TOKEN_LIMIT: Final = timedelta(minutes=5)
"""An API that refuses each new token must not make us ask for one with each request: Microsoft
takes that for a loop and locks the client out (AADSTS50196)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a token endpoint gave."""

    access_token: Secret
    lifetime: timedelta
    refresh_token: Secret | None = None  #: None: the old one goes on
    scopes: frozenset[str] | None = None  #: None: it did not say


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSet:
    """The tokens that an account has."""

    refresh_token: Secret | None = None
    previous_refresh_token: Secret | None = None  #: what the last renewal but one was done with
    access_token: Secret | None = None
    obtained_at: datetime | None = None
    expires_at: datetime | None = None
    refused_at: datetime | None = None  #: when the API's refusal made us renew it last

    @classmethod
    def read(cls, credentials: Mapping[str, Secret]) -> Self:
        """Return the tokens among stored credentials; a time that is none counts as missing."""
        return cls(
            refresh_token=credentials.get("refresh_token"),
            previous_refresh_token=credentials.get("previous_refresh_token"),
            access_token=credentials.get("access_token"),
            obtained_at=_time(credentials.get("obtained_at")),
            expires_at=_time(credentials.get("expires_at")),
            refused_at=_time(credentials.get("refused_at")),
        )

    def write(self, credentials: Mapping[str, Secret]) -> dict[str, Secret]:
        """Return the credentials with these tokens in place of those they held."""
        written = dict(credentials)
        for name in TokenSet.__dataclass_fields__:
            value = getattr(self, name)
            if value is None:
                written.pop(name, None)
            else:
                written[name] = Secret(value.isoformat()) if name.endswith("_at") else value
        return written

    def is_fresh(self, now: datetime) -> bool:
        """Return whether the access token may be used without a thought of renewing it."""
        if self.access_token is None or self.expires_at is None:
            return False
        if self.obtained_at is None:
            return now < self.expires_at - UNKNOWN_LIFE_MARGIN
        life = self.expires_at - self.obtained_at
        return self.obtained_at - CLOCK_SKEW <= now < self.obtained_at + life * RENEW_AFTER

    def is_usable(self, now: datetime) -> bool:
        """Return whether the access token still lives, were it not to be had anew."""
        if self.access_token is None or self.expires_at is None:
            return False
        return now < self.expires_at - MARGIN

    def was_refused_lately(self, now: datetime) -> bool:
        """Return whether the API refused the token before this one a moment ago."""
        if self.refused_at is None:
            return False
        return timedelta() <= now - self.refused_at < LOST_TOKEN_LIMIT

    def after(self, granted: Granted, now: datetime, *, used: Secret | None, refused: bool) -> Self:
        """Return the tokens after a renewal.

        Args:
            granted: what the endpoint gave.
            now: when it was asked.
            used: the refresh token that it was asked with.
            refused: the API had refused the access token.
        """
        rotated = granted.refresh_token is not None and granted.refresh_token != used
        return replace(
            self,
            refresh_token=granted.refresh_token or used,
            previous_refresh_token=used if rotated else None,
            access_token=granted.access_token,
            obtained_at=now,
            expires_at=now + granted.lifetime,
            refused_at=now if refused else self.refused_at,
        )


def _time(stored: Secret | None) -> datetime | None:
    """Read an ISO 8601 time; one without a zone is UTC."""
    try:
        time = datetime.fromisoformat(stored.reveal() if stored else "")
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
