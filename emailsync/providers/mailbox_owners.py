"""Whose mailbox a refresh token opens: asked once of each token, before anything is stored.

Who connects an account again may be signed in as somebody else; the account would then show a
stranger's mail, and take its own for deleted. A token of our own registration is asked for by the
account's address, so it proves itself.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from emailsync.domain.accounts import AccountKey
from emailsync.domain.errors import AuthRefused
from emailsync.ports import Account

MOST_REMEMBERED: Final = 20_000  #: 200 bytes each; who was forgotten is asked for again

Addresses = Callable[[], Awaitable[Collection[str] | None]]
"""Asks the provider for all addresses of the token's mailbox; None: it does not tell."""


class MailboxOwners:
    """The accounts of one provider type that proved themselves; one a daemon."""

    def __init__(self, comparable: Callable[[str], str] = str.casefold) -> None:
        """Remember nobody.

        Args:
            comparable: spells an address as the provider compares it.
        """
        self._comparable = comparable
        self._proven: OrderedDict[AccountKey, bytes] = OrderedDict()

    async def prove(self, account: Account, addresses: Addresses) -> None:
        """Return if the account's token opens its own mailbox, as far as the provider tells.

        A token that came in the place of a proven one, by renewal, needs no proof.

        Raises:
            AuthRefused: it opens another mailbox.
            SyncError: as `addresses` does.
        """
        token, before = (
            _digest(account, name) for name in ("refresh_token", "previous_refresh_token")
        )
        if token is None:
            return
        if self._proven.get(account.key) not in {token, before or token}:
            self.compare(account, await addresses())
        self._proven[account.key] = token
        self._proven.move_to_end(account.key)
        if len(self._proven) > MOST_REMEMBERED:
            self._proven.popitem(last=False)

    def compare(self, account: Account, addresses: Collection[str] | None) -> None:
        """Return if the account's address is one of these, or they are not told.

        Raises:
            AuthRefused: it is not.
        """
        if addresses is None:
            return
        if self._comparable(account.email_address) not in map(self._comparable, addresses):
            raise AuthRefused(
                "the token opens another mailbox than the account's address says: "
                "the owner of this one has to connect it"
            )


def _digest(account: Account, name: str) -> bytes | None:
    """Return what tells a token of this address from others, and is no secret itself."""
    token = account.credentials.get(name)
    if token is None:
        return None
    return hashlib.sha256(f"{account.email_address}\n{token.reveal()}".encode()).digest()
