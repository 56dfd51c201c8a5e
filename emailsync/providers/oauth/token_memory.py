"""Credentials in memory, with the manners of the vault in the database: one renewal at a time.

For tokens that need no keeping, since our own registration gets new ones at any time, and for an
account that is tried before it is stored.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Final

import anyio

from emailsync.crypto import Secret
from emailsync.domain.errors import Retryable

MOST_KEPT: Final = 20_000  #: a kilobyte each; whose token was forgotten gets another one
RENEWAL_S: Final = 20.0  #: for the issuer's answer, as in the database's vault

Renewal = Callable[[Mapping[str, Secret]], Awaitable[Mapping[str, Secret] | None]]


class _Place:
    def __init__(self, credentials: Mapping[str, Secret]) -> None:
        self.credentials = credentials
        self.lock = anyio.Lock()


class TokenMemory:
    """A `CredentialVault` of this process alone."""

    def __init__(self) -> None:
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()

    def place(self, key: Hashable, credentials: Mapping[str, Secret]) -> None:
        """Hold these credentials of `key`."""
        self._places[key] = _Place(credentials)

    def held(self, key: Hashable) -> Mapping[str, Secret]:
        """Return what is held of `key` now."""
        place = self._places.get(key)
        return place.credentials if place else {}

    async def renew(self, key: Hashable, renewal: Renewal) -> Mapping[str, Secret]:
        """Let `renewal` replace what is held; see `CredentialVault`.

        It is not cancelled, for at most `RENEWAL_S`: the issuer may have replaced the old ones.

        Raises:
            Retryable: the renewal took longer.
        """
        place = self._place_of(key)
        async with place.lock:
            with anyio.move_on_after(RENEWAL_S, shield=True) as patience:
                renewed = await renewal(place.credentials)
            if patience.cancelled_caught:
                raise Retryable("the provider did not renew the credentials in time")
            if renewed is not None:
                place.credentials = renewed
            return place.credentials

    def _place_of(self, key: Hashable) -> _Place:
        if key not in self._places:
            self._forget_one()
            self._places[key] = _Place({})
        self._places.move_to_end(key)
        return self._places[key]

    def _forget_one(self) -> None:
        oldest = next(iter(self._places.items()), None)
        if oldest and len(self._places) >= MOST_KEPT and not oldest[1].lock.locked():
            del self._places[oldest[0]]
