"""Lets things happen in the mailboxes of an emulated provider, at a rate."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Generic, TypeVar

import anyio

IDLE_S = 0.05  #: between two looks at the rate while it is 0

Mailbox = TypeVar("Mailbox")


class MailLife(Generic[Mailbox]):
    """Life in all mailboxes of a ledger, also those to come: `happens` does one thing in one."""

    __slots__ = ("_happens", "_mailboxes", "_random", "changes_per_s")

    def __init__(
        self, mailboxes: Mapping[str, Mailbox], happens: Callable[[Mailbox, Random], None]
    ) -> None:
        self.changes_per_s = 0.0  #: over all mailboxes; may be changed at any time
        self._mailboxes = mailboxes
        self._happens = happens
        self._random = Random(1)  # repeatable

    async def run(self) -> None:
        """Let things happen until cancelled."""
        while True:
            if self.changes_per_s > 0 and self._mailboxes:
                self.change(self._random.choice(list(self._mailboxes.values())))
                await anyio.sleep(1 / self.changes_per_s)
            else:
                await anyio.sleep(IDLE_S)

    def change(self, mailbox: Mailbox) -> None:
        """Let one thing happen."""
        self._happens(mailbox, self._random)
