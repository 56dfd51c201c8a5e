"""What a failing server and a wrong password do to their accounts, and to nobody else's."""

import socket
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from dovecot import DENIED_PREFIX, DovecotServer
from dovecot_mailbox import DovecotMailbox
from installation import Installation
from servers import LOOPBACK

TIMEOUT_MS = 3_000
QUICK: dict[str, Any] = {
    "queues": {
        name: {"attempts": 10, "backoff_ms": 10, "limiter_max": 100}
        for name in ("high", "normal", "low")
    },
    "limits": {"imap": {"interval_ms": 0}},
    "circuit_breaker": {"threshold": 5, "timeout_ms": TIMEOUT_MS},
}


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else gets it, and not listening."""
    with socket.socket() as closed:
        closed.bind((LOOPBACK, 0))
        yield closed.getsockname()[1]


async def test_a_server_that_refuses_connections_opens_its_circuit_and_stops_nobody_else(
    installation: Installation,
    dovecot: DovecotServer,
    mailbox: DovecotMailbox,
    refusing_port: int,
) -> None:
    ports = [dovecot.port, refusing_port]
    installation.configure(QUICK | {"imap": {"allowed_ports": ports}})
    dead = DovecotMailbox(LOOPBACK, refusing_port, "dead@example.test", "secret")
    installation.add_account(dead, tenant="dead", words=("--no-test",))
    installation.add_account(mailbox, tenant="alive")

    async with installation.daemon() as daemon:
        await daemon.wait_for_event("sync.job_finished", tenant_id="alive", result="done")
        fifth = await daemon.wait_for_event("sync.job_finished", tenant_id="dead", count=5)
        [circuit] = await installation.fetch(
            "SELECT state, failures FROM circuits WHERE endpoint = $1",
            f"{LOOPBACK}:{refusing_port}",
        )
        probe = await daemon.wait_for_event("sync.job_finished", tenant_id="dead", count=6)

    assert fifth["error_class"] == "Unreachable"
    assert (circuit["state"], circuit["failures"]) == ("OPEN", 5)
    assert probe["error_class"] == "Unreachable"
    assert _seconds_between(fifth, probe) >= TIMEOUT_MS / 1_000


async def test_a_wrong_password_needs_a_reconnect_and_is_tried_once(
    installation: Installation, dovecot: DovecotServer
) -> None:
    installation.configure(QUICK)
    user = f"{DENIED_PREFIX}-once@example.test"
    denied = dovecot.mailbox(user)
    installation.add_account(denied, words=("--no-test",))

    async with installation.daemon() as daemon:
        line = await daemon.wait_for_event("sync.job_finished")
        again = installation.run("sync", user)

    [row] = await installation.fetch("SELECT status, last_error FROM provider_configs")
    assert line["result"] == "needs_reconnect"
    assert row["status"] == "needs_reconnect"
    assert again.returncode == 3
    assert dovecot.login_attempts(user) == 1


def _seconds_between(first: dict[str, Any], second: dict[str, Any]) -> float:
    at = [datetime.fromisoformat(line["timestamp"]) for line in (first, second)]
    return (at[1] - at[0]).total_seconds()
