"""Why an account is where it is, in sentences: who or what holds it up, and who has to act."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from emailsync.domain.accounts import AccountStatus
from emailsync.domain.circuit import Circuit, CircuitState
from emailsync.domain.freshness import Activity
from emailsync.logs import shown_time
from emailsync.store.accounts import AccountInfo, Explanation

_WHO_ACTS: Final = {
    AccountStatus.PAUSED: "it is paused: `emailsyncd account resume` or POST /providers/ID/resume "
    "starts it again",
    AccountStatus.NEEDS_RECONNECT: "the server refused the login: its owner has to give new "
    "credentials, to `emailsyncd account resume` with --password-stdin or --refresh-token-stdin "
    "or to PATCH /providers/ID; nothing tries again before",
    AccountStatus.ERROR: "its settings cannot work: the operator has to correct them (those in the "
    "daemon's file take a restart), then `emailsyncd account resume`, or both by PATCH "
    "/providers/ID",
}
_SWITCHED_OFF: Final = "the application switched it off (is_active is false)"


def out_of_service(account: AccountInfo) -> str | None:
    """Return why nobody syncs the account until somebody acts; None: it is synced when due."""
    return _WHO_ACTS.get(account.status) or (None if account.is_active else _SWITCHED_OFF)


def reasons(explained: Explanation, interval: timedelta) -> Iterator[str]:
    """Yield what keeps the account from being synced or complete, the most final first.

    Args:
        explained: what the database knows.
        interval: between two syncs of an account of this type and priority.
    """
    account = explained.account
    if reason := out_of_service(account):
        yield reason
        return
    yield from _older_mail(explained.backfilling_folders)
    is_stalled = account.situation.activity(interval) is Activity.STALLED
    if account.situation.leased_at is not None:
        since = shown_time(account.situation.leased_at)
        yield f"it is being synced by {account.lease_owner}, or waits in that daemon's queue"
        if is_stalled:
            yield f"it is stalled: held since {since}, and no run ended; see that daemon's log"
        return
    if account.lease_owner is not None:
        yield f"its daemon {account.lease_owner} vanished: any other may take it over"
    yield from _open_circuit("the account", account.circuit, account.now)
    yield from _open_circuit(
        f"its server {account.endpoint}", account.endpoint_circuit, account.now
    )
    yield _due(account)
    if is_stalled:
        yield (
            "it is stalled: it waits for longer than its interval though nothing keeps it back; "
            "is a daemon running, and do its limits suffice (`emailsyncd check`)?"
        )


def _older_mail(folders: int) -> Iterator[str]:
    if folders:
        which = "1 folder" if folders == 1 else f"{folders} folders"
        yield f"older mail of {which} is still to come; it is counted once all of it is stored"


def _due(account: AccountInfo) -> str:
    at = shown_time(account.next_sync_at)
    if account.next_sync_at > account.now:
        return f"it is not due before {at}"
    return f"it is due since {at}: the next daemon with room takes it"


def _open_circuit(whose: str, circuit: Circuit, now: datetime) -> Iterator[str]:
    if circuit.state is CircuitState.CLOSED:
        return
    if circuit.retry_at is not None and circuit.retry_at > now:
        yield (
            f"the circuit of {whose} is {circuit.state.value} after {circuit.failures} failures "
            f"in a row: tried again at {shown_time(circuit.retry_at)}"
        )
    else:
        yield f"the circuit of {whose} is {circuit.state.value}: the next sync tries it again"
