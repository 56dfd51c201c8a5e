"""The metrics count as stalled exactly the accounts that the domain calls so."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from emailsync.config import Settings
from emailsync.domain.accounts import ProviderType
from emailsync.domain.freshness import Activity
from emailsync.store.accounts import AccountFilter, AccountInfo, AccountStore
from emailsync.store.database import Database
from emailsync.store.monitor import Monitor
from emailsync.store.overview import Overview
from store_rig import KEYS, add_account

SETTINGS = Settings()
OPEN_SERVER = "down.example.test:993"
Connection = "asyncpg.Connection[asyncpg.Record]"


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


async def add_every_kind(connection: Connection) -> None:
    """Vary all that freshness depends on, at spans well away from every limit."""
    opened = {"circuit_state": "OPEN", "circuit_failures": 5}
    held = {"lease_owner": "one", "lease_until": ago(hours=-1)}
    states: list[Mapping[str, Any]] = [
        {},
        {**opened, "circuit_retry_at": ago(minutes=-3)},
        {**opened, "circuit_retry_at": ago(minutes=3)},
        {**held, "leased_at": ago(minutes=5)},
        {**held, "leased_at": ago(hours=3)},
        {"lease_owner": "vanished", "lease_until": ago(hours=1), "leased_at": ago(hours=3)},
        {"status": "paused"},
        {"is_active": False},
        {"endpoint": OPEN_SERVER},
    ]
    kinds = product(states, ("imap", "google"), (1, 4), (-1, 0.2, 3, 40), (ago(days=2), None))
    for state, provider_type, priority, late_h, synced_at in kinds:
        due = {"next_sync_at": ago(hours=late_h), "last_synced_at": synced_at}
        kind = {"provider_type": provider_type, "sync_priority": priority}
        await add_account(connection, **{**kind, **due, **state})
    await connection.execute(
        "INSERT INTO circuits (provider_type, endpoint, state, failures, retry_at)"
        " VALUES ('imap', $1, 'OPEN', 5, now() + interval '4 minutes')",
        OPEN_SERVER,
    )


async def test_the_metrics_and_the_domain_agree_on_every_account(
    database: Database, connection: Connection
) -> None:
    await add_every_kind(connection)

    gauges = await Overview(database).gauges(SETTINGS)
    accounts = await AccountStore(database, KEYS).list_all()

    for kind in (ProviderType.IMAP, ProviderType.GOOGLE):
        ours = [account for account in accounts if account.provider_type is kind]
        stalled = [each for each in ours if activity_of(each) is Activity.STALLED]
        assert gauges.stalled[kind] == len(stalled) > 0
        oldest_s = max(unsynced_s(each) for each in ours)
        assert abs(gauges.unsynced_s[kind] - oldest_s) < 30


async def test_the_lists_and_the_domain_agree_on_every_account(
    database: Database, connection: Connection
) -> None:
    await add_every_kind(connection)
    store = AccountStore(database, KEYS)

    accounts = await store.list_all()
    found = {
        activity: await store.page(AccountFilter(activity=activity), settings=SETTINGS)
        for activity in Activity
    }
    standings = (await Monitor(database).picture(SETTINGS, None)).standings

    for activity, those in found.items():
        keys = {each.key for each in accounts if activity_of(each) is activity}
        assert {each.key for each in those} == keys != set()
        counted = sum(each.accounts for each in standings if each.activity is activity)
        assert counted == len(keys)


async def test_a_fresh_database_is_not_late(database: Database, connection: Connection) -> None:
    await add_account(connection)

    gauges = await Overview(database).gauges(SETTINGS)

    assert gauges.stalled == {ProviderType.IMAP: 0}
    assert gauges.unsynced_s == {ProviderType.IMAP: 0}


def activity_of(account: AccountInfo) -> Activity:
    interval = SETTINGS.intervals.of(account.provider_type).of(account.priority)
    return account.situation.activity(interval)


def unsynced_s(account: AccountInfo) -> float:
    interval = SETTINGS.intervals.of(account.provider_type).of(account.priority)
    return account.situation.unsynced_for(interval).total_seconds()
