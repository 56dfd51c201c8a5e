"""The tenants and accounts of a simulation, drawn from a seed: who they are, not what they do.

Every account is due at the start, as on a first day. Hosts are shared by all tenants.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle
from random import Random
from typing import Final
from uuid import UUID

from emailsync.domain.accounts import AccountId, AccountKey, ProviderType, TenantId
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import PREMIUM_PLAN, priority_of

API_HOSTS: Final = {
    ProviderType.GOOGLE: "gmail.googleapis.com",
    ProviderType.MICROSOFT: "graph.microsoft.com",
}
NOT_RECENTLY: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What part of the tenants is of which priority; only the proportions count."""

    critical: float = 5  #: on the plan `premium`
    high: float = 10  #: last login under an hour ago
    normal: float = 35  #: under a day ago
    low: float = 50  #: everybody else


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """How many there are and what they use.

    Attributes:
        provider_types: a tenant's accounts go through them in turns, and on with the next tenant.
        imap_hosts: the servers that the IMAP accounts are spread over.
    """

    tenants: int
    accounts_per_tenant: int = 2
    mix: Mix = Mix()
    provider_types: Sequence[ProviderType] = (ProviderType.IMAP,)
    imap_hosts: int = 1


def due_at_once(crowd: Crowd, draw: Random, now: datetime) -> Sequence[SyncJob]:
    """Return every account as a claim would, due and never synced."""
    mix = crowd.mix
    people: dict[tuple[str, timedelta], float] = {
        (PREMIUM_PLAN, NOT_RECENTLY): mix.critical,
        ("", timedelta(minutes=30)): mix.high,
        ("", timedelta(hours=12)): mix.normal,
        ("", NOT_RECENTLY): mix.low,
    }
    drawn = draw.choices(tuple(people), weights=tuple(people.values()), k=crowd.tenants)
    owners = [
        (TenantId(f"tenant-{number}"), priority_of(plan, now - since_login, now))
        for number, (plan, since_login) in enumerate(drawn)
        for _ in range(crowd.accounts_per_tenant)
    ]
    hosts = cycle([f"imap-{number}.example:993" for number in range(crowd.imap_hosts)])
    types = zip(owners, cycle(crowd.provider_types), strict=False)
    return [
        SyncJob(
            key=AccountKey(tenant, AccountId(UUID(int=number))),
            provider_type=kind,
            endpoint=API_HOSTS.get(kind) or next(hosts),
            priority=priority,
            weight=1,
            epoch=0,
            attempt=1,
            crashes=0,
            auth_refusals=0,
            due_at=now,
            last_synced_at=None,
        )
        for number, ((tenant, priority), kind) in enumerate(types)
    ]
