"""What a sync is made of, put together: for the daemon, and for a sync in the foreground.

It knows nothing of the API: whoever only syncs does not load a web server.
"""

import socket
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from os import getpid

from emailsync.config import LiveSettings, Settings
from emailsync.crypto import KeyRing
from emailsync.domain.accounts import ProviderType
from emailsync.metrics import Metrics
from emailsync.mime.pool import MimeParser
from emailsync.ports import Clock, LeaseStore, SessionOpener
from emailsync.providers.registry import session_openers
from emailsync.scheduling.engine import SyncEngine
from emailsync.store.credential_vault import PostgresCredentialVault
from emailsync.store.database import Database
from emailsync.store.leases import PostgresLeaseStore
from emailsync.store.mail import PostgresMailStore
from emailsync.sync.run_job import RunJob


@dataclass(frozen=True, slots=True)
class Syncing:
    """What runs syncs, ready to be started and fed."""

    engine: SyncEngine
    leases: LeaseStore
    openers: Mapping[ProviderType, SessionOpener]


@asynccontextmanager
async def open_syncing(
    live: LiveSettings,
    *,
    database: Database,
    keys: KeyRing,
    metrics: Metrics,
    clock: Clock,
    instance_id: str,
    kinds: Collection[ProviderType] = tuple(ProviderType),
) -> AsyncIterator[Syncing]:
    """Build what a sync needs, from the database's rows to the provider's sockets.

    Only accounts of the given kinds can be synced.
    """
    mail = PostgresMailStore(database, keys, live)
    leases = PostgresLeaseStore(database, live, instance_id)
    vault = PostgresCredentialVault(database, keys)
    async with session_openers(live, vault, clock, kinds) as openers, MimeParser() as parser:
        engine = SyncEngine(
            settings=live,
            store=leases,
            run_job=RunJob(mail, openers, parser),
            clock=clock,
            metrics=metrics,
            instance_id=instance_id,
        )
        yield Syncing(engine, leases, openers)


def instance_name(settings: Settings) -> str:
    """Return the name of this process among all that share the database."""
    return settings.cluster.instance_id or f"{socket.gethostname()}:{getpid()}"
