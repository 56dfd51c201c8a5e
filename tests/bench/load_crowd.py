"""Who takes part in a load run: tenants of every priority, their accounts, and how much mail.

The same crowd comes out each time. Knows no server.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle, islice
from typing import Final

from emailsync.domain.accounts import ProviderType

#: Plan, time since the last login, and how many of twenty tenants: 5, 10, 35 and 50 %.
KINDS: Final[Sequence[tuple[str, timedelta, int]]] = (
    ("premium", timedelta(days=7), 1),
    ("basic", timedelta(minutes=5), 2),
    ("basic", timedelta(hours=6), 7),
    ("basic", timedelta(days=7), 10),
)
STRIDE: Final = 7  #: coprime to twenty: any few neighbours are of different kinds


@dataclass(frozen=True, slots=True)
class LoadTenant:
    """One tenant."""

    name: str
    plan: str
    idle: timedelta  #: since the last login


@dataclass(frozen=True, slots=True)
class LoadMailbox:
    """One account and what lies in its mailbox."""

    tenant: str
    email: str
    kind: ProviderType
    messages: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """How many there are.

    Attributes:
        tenants: each with `accounts_per_tenant` accounts, whose types take turns.
        kinds: those types.
        messages: in a mailbox; they vary from half as many to half as many again.
        large_every: every so many mailboxes one has `large_messages`; 0: none.
    """

    tenants: int
    accounts_per_tenant: int
    kinds: Sequence[ProviderType]
    messages: int
    large_every: int = 0
    large_messages: int = 0

    def people(self) -> Sequence[LoadTenant]:
        """Return the tenants."""
        of_twenty = [(plan, idle) for plan, idle, count in KINDS for _ in range(count)]
        return [
            LoadTenant(f"tenant-{number:05}", *of_twenty[number * STRIDE % len(of_twenty)])
            for number in range(self.tenants)
        ]

    def mailboxes(self) -> Sequence[LoadMailbox]:
        """Return the accounts of all tenants."""
        count = self.tenants * self.accounts_per_tenant
        kinds = islice(cycle(self.kinds), count)
        return [
            LoadMailbox(
                tenant=f"tenant-{number // self.accounts_per_tenant:05}",
                email=f"user{number:05}@{kind.value}.example.com",
                kind=kind,
                messages=self._messages(number),
                seed=number,
            )
            for number, kind in enumerate(kinds)
        ]

    def _messages(self, number: int) -> int:
        if self.large_every and number % self.large_every == 0:
            return self.large_messages
        return self.messages // 2 + number % (self.messages + 1)
