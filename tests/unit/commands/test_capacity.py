"""`check` says which limit falls short of which promise, and by how much."""

from emailsync.commands.capacity import capacity_findings
from emailsync.commands.findings import Finding, Verdict
from emailsync.config import QueueSettings, QueuesSettings, Settings
from emailsync.domain.accounts import ProviderType
from emailsync.domain.priority import Priority
from emailsync.store.overview import Demand

NOTHING = Demand(accounts={}, mean_duration_s=None)


def a_queue(*, limiter_max: int, concurrency: int = 5) -> QueueSettings:
    return QueueSettings(
        concurrency=concurrency,
        limiter_max=limiter_max,
        limiter_duration_ms=60_000,
        attempts=1,
        backoff_ms=0,
    )


def findings(settings: Settings, demand: Demand = NOTHING) -> dict[str, Finding]:
    return {finding.name: finding for finding in capacity_findings(settings, demand)}


def test_the_defaults_meet_every_target() -> None:
    assert {finding.verdict for finding in findings(Settings()).values()} == {Verdict.OK}


def test_the_conservative_preset_falls_short_and_the_limiter_is_named() -> None:
    queues = QueuesSettings(
        high=a_queue(limiter_max=10), normal=a_queue(limiter_max=5), low=a_queue(limiter_max=3)
    )

    found = findings(Settings(queues=queues))["target: 10,000 tenants in 240 min"]

    assert found.verdict is Verdict.SHORT
    assert "all synced after more than 720 min; raise queues." in found.detail
    assert found.detail.endswith(".limiter_max")


def test_the_targets_are_held_against_the_types_that_are_there() -> None:
    accounts = {(ProviderType.IMAP, Priority.LOW): 1}
    wider = Settings.model_validate({"limits": {"imap": {"concurrent": 10}}})

    name = "target: 10,000 tenants in 240 min"
    narrow = findings(Settings(), Demand(accounts=accounts, mean_duration_s=None))[name]
    wide = findings(wider, Demand(accounts=accounts, mean_duration_s=None))[name]

    assert narrow.verdict is Verdict.SHORT
    assert narrow.detail.endswith("raise limits.imap.concurrent")
    assert wide.verdict is Verdict.OK


def test_accounts_are_held_against_their_queue_and_their_provider() -> None:
    accounts = {(ProviderType.IMAP, Priority.LOW): 24_000}

    found = findings(Settings(), Demand(accounts=accounts, mean_duration_s=4.0))

    assert found["queue low"].verdict is Verdict.SHORT
    assert "100.0 syncs/min of the 30.0 that queues.low.concurrency" in found["queue low"].detail
    assert "limits.imap.concurrent" in found["provider imap"].detail
    assert found["queue high"].verdict is Verdict.OK


def test_fewer_connections_than_workers_fall_short() -> None:
    settings = Settings.model_validate({"database": {"pool_max": 8}})

    found = findings(settings)["database.pool_max"]

    assert found.verdict is Verdict.SHORT
    assert "set it to 12" in found.detail
