"""`account explain` names who or what holds an account up, and who has to act."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from emailsync.api.explaining import reasons
from emailsync.domain.accounts import AccountId, AccountKey, AccountStatus, ProviderType, TenantId
from emailsync.domain.circuit import Circuit, CircuitState
from emailsync.domain.freshness import HELD_AT_MOST
from emailsync.domain.priority import Priority
from emailsync.store.accounts import AccountInfo, Explanation

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)
EARLIER = NOW - timedelta(minutes=5)
OPEN = Circuit(CircuitState.OPEN, 5, SOON)

ACCOUNT = AccountInfo(
    key=AccountKey(TenantId("acme"), AccountId(UUID(int=1))),
    provider_type=ProviderType.IMAP,
    email_address="a@example.test",
    settings={},
    endpoint="mail.example.test:993",
    status=AccountStatus.ACTIVE,
    is_active=True,
    priority=Priority.LOW,
    last_synced_at=None,
    next_sync_at=SOON,
    attempt=1,
    sync_error_count=0,
    last_error=None,
    last_error_class=None,
    last_error_at=None,
    circuit=Circuit(),
    endpoint_circuit=Circuit(),
    lease_owner=None,
    lease_until=None,
    leased_at=None,
    created_at=EARLIER,
    now=NOW,
)


INTERVAL = timedelta(hours=4)


def explained(account: AccountInfo, endpoint_circuit: Circuit | None = None) -> Explanation:
    return Explanation(
        account=replace(account, endpoint_circuit=endpoint_circuit or Circuit()),
        folders=0,
        backfilling_folders=0,
        differing_folders=0,
        stored_messages=0,
        remote_messages=0,
        next_comparison_at=None,
        quarantined=0,
        runs=(),
    )


@pytest.mark.parametrize(
    ("account", "words"),
    [
        (replace(ACCOUNT, status=AccountStatus.PAUSED), "it is paused"),
        (replace(ACCOUNT, status=AccountStatus.NEEDS_RECONNECT), "new credentials"),
        (
            replace(ACCOUNT, status=AccountStatus.ERROR),
            "take a restart), then `emailsyncd account resume`",
        ),
        (replace(ACCOUNT, is_active=False), "is_active is false"),
        (replace(ACCOUNT, lease_owner="vm:1", lease_until=SOON, leased_at=EARLIER), "by vm:1"),
        (ACCOUNT, "not due before"),
        (replace(ACCOUNT, next_sync_at=EARLIER), "due since"),
    ],
)
def test_one_reason_is_given_when_one_is_enough(account: AccountInfo, words: str) -> None:
    (reason,) = reasons(explained(account), INTERVAL)

    assert words in reason


def test_open_circuits_are_named_with_the_time_of_the_next_try() -> None:
    mine, servers, due = reasons(explained(replace(ACCOUNT, circuit=OPEN), OPEN), INTERVAL)

    assert "the circuit of the account is OPEN after 5 failures" in mine
    assert "its server mail.example.test:993 is OPEN" in servers
    assert "not due" in due


def test_a_circuit_whose_time_has_come_is_tried_with_the_next_sync() -> None:
    circuit = Circuit(CircuitState.OPEN, 5, EARLIER)

    first, _ = reasons(explained(replace(ACCOUNT, circuit=circuit)), INTERVAL)

    assert "the next sync tries it again" in first


def test_a_vanished_owner_is_named() -> None:
    account = replace(ACCOUNT, lease_owner="vm:1", lease_until=EARLIER, leased_at=EARLIER)

    first, *_ = reasons(explained(account), INTERVAL)

    assert "its daemon vm:1 vanished" in first


@pytest.mark.parametrize(("folders", "which"), [(1, "1 folder is"), (2, "2 folders is")])
def test_mail_that_is_not_counted_yet_is_told_of(folders: int, which: str) -> None:
    """In a first sync the counts are behind what is stored: `0 of 0` for thousands of messages."""
    unfinished = replace(explained(ACCOUNT), backfilling_folders=folders)

    coming, due = reasons(unfinished, INTERVAL)

    assert f"older mail of {which} still to come" in coming
    assert "not due" in due


def test_what_waits_for_longer_than_its_interval_is_stalled() -> None:
    account = replace(ACCOUNT, next_sync_at=NOW - INTERVAL)

    *_, last = reasons(explained(account), INTERVAL)

    assert "it is stalled" in last
    assert "emailsyncd check" in last


def test_what_is_held_without_end_is_stalled() -> None:
    held = {"lease_owner": "vm:1", "lease_until": SOON, "leased_at": NOW - HELD_AT_MOST}

    owner, stalled = reasons(explained(replace(ACCOUNT, **held)), INTERVAL)

    assert "synced by vm:1" in owner
    assert "it is stalled: held since" in stalled
