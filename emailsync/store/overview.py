"""Sums over all tenants, for the metrics and for `emailsyncd check`. Reads only, names nobody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from emailsync.config import Settings
from emailsync.domain.accounts import ProviderType
from emailsync.domain.priority import Priority
from emailsync.metrics import StoreGauges
from emailsync.store.database import Database
from emailsync.store.intervals import situation_values
from emailsync.store.queries import load_queries

SQL: Final = load_queries("overview", "situations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What the accounts ask of the daemon."""

    accounts: Mapping[tuple[ProviderType, Priority], int]  #: active ones
    mean_duration_s: float | None  #: of a run in the last day that ended well; None: no such run


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationUse:
    """The accounts that get their tokens in one way from one issuer."""

    issuer: str  #: the section of the settings: `oauth.<issuer>`
    by_application: bool  #: by our own right; else by their owners' consent
    accounts: int
    waiting: int  #: for the operator
    problem: str | None  #: what one of these waits for


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """Which PostgreSQL this is."""

    shown: str
    number: int  #: 150004 for 15.4


class Overview:
    """The store seen as a whole. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def gauges(self, settings: Settings) -> StoreGauges:
        """Return what the metrics show of the database; freshness goes by the intervals."""
        async with self._database.connection() as connection:
            lag = await connection.fetch(SQL["lag"])
            circuits = await connection.fetch(SQL["circuits"])
            accounts = await connection.fetch(SQL["accounts"])
            freshness = await connection.fetch(SQL["freshness"], *situation_values(settings))
            completeness = await connection.fetchrow(SQL["completeness"])
        assert completeness is not None
        return StoreGauges(
            lag_s={Priority(row["sync_priority"]): row["lag_s"] for row in lag},
            circuits={
                (row["provider_type"], row["scope"], row["state"]): row["circuits"]
                for row in circuits
            },
            accounts={(row["provider_type"], row["status"]): row["accounts"] for row in accounts},
            stalled={ProviderType(row["provider_type"]): row["stalled"] for row in freshness},
            unsynced_s={ProviderType(row["provider_type"]): row["unsynced_s"] for row in freshness},
            unexplained_folders=completeness["unexplained_folders"],
            quarantined=completeness["quarantined"],
        )

    async def demand(self) -> Demand:
        """Return how much there is to sync and how long a sync takes here."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(SQL["demand"])
            mean_duration_s = await connection.fetchval(SQL["mean_duration"])
        return Demand(
            accounts={
                (ProviderType(row["provider_type"]), Priority(row["sync_priority"])): row[
                    "accounts"
                ]
                for row in rows
            },
            mean_duration_s=mean_duration_s,
        )

    async def registrations(self) -> Sequence[RegistrationUse]:
        """Return which of our registrations at issuers of tokens the accounts need."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(SQL["registrations"])
        return [RegistrationUse(**row) for row in rows]

    async def server_version(self) -> ServerVersion:
        """Return the version of the server."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(SQL["server_version"])
        assert row is not None
        return ServerVersion(row["shown"], row["number"])
