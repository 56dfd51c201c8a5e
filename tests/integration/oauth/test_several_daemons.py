"""Refresh tokens that serve once, and daemons that share and lose them: no reconnect in vain."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
import anyio.abc
import asyncpg
import pytest

from emailsync.crypto import Secret
from emailsync.domain.accounts import AccountKey
from emailsync.emulators.http_host import serve
from emailsync.emulators.oauth.app import OAuthEmulator
from emailsync.emulators.oauth.ledger import OAuthLedger, Rotation
from emailsync.store.sealing import open_credentials, seal_credentials
from oauth_renewer import ADDRESS, Order
from oauth_rig import CLIENT_ID, CLIENT_SECRET
from store_rig import KEYS, add_account

RENEWER = Path(__file__).parents[2] / "oauth_renewer.py"
TASKS, RENEWALS = 20, 200


class DeadlyLedger(OAuthLedger):
    """Kills whoever asks for a token, when the token is rotated and before the answer is sent."""

    victim: anyio.abc.Process | None = None

    def rotate(self, refresh_token: str) -> str | None:
        rotated = super().rotate(refresh_token)
        if self.victim is not None:
            os.kill(self.victim.pid, signal.SIGKILL)
        return rotated


@dataclass
class Shared:
    """An account in Postgres, its issuer, and the folder that daemons find our secrets in."""

    connection: "asyncpg.Connection[asyncpg.Record]"
    emulator: OAuthEmulator
    key: AccountKey
    order: Order

    @property
    def ledger(self) -> DeadlyLedger:
        assert isinstance(self.emulator.ledger, DeadlyLedger)
        return self.emulator.ledger

    async def stored(self) -> Mapping[str, Secret]:
        sealed = await self.connection.fetchval("SELECT credentials FROM provider_configs")
        return open_credentials(KEYS, self.key, sealed)

    async def started(self, **changes: int) -> anyio.abc.Process:
        """Start a daemon of these orders."""
        process = await anyio.open_process(
            [sys.executable, RENEWER],
            stderr=None,
            env=os.environ | {"PYTHONPATH": str(RENEWER.parent)},
        )
        assert process.stdin is not None
        await process.stdin.send(json.dumps(asdict(self.order) | changes).encode() + b"\n")
        return process


@pytest.fixture
async def shared(database_url: str, tmp_path: Path) -> AsyncIterator[Shared]:
    ledger = DeadlyLedger(rotation=Rotation.ONE_TIME)
    ledger.add_client(CLIENT_ID, CLIENT_SECRET)
    emulator = OAuthEmulator(ledger)
    connection = await asyncpg.connect(database_url)
    try:
        key = await add_account(connection, provider_type="microsoft", email_address=ADDRESS)
        refresh_token = Secret(ledger.add_user(ADDRESS, client_id=CLIENT_ID))
        sealed = seal_credentials(KEYS, key, {"refresh_token": refresh_token})
        await connection.execute("UPDATE provider_configs SET credentials = $1", sealed)
        async with serve(emulator.app) as base_url:
            order = Order(
                database_url=database_url,
                issuers_url=base_url,
                secrets=str(tmp_path),
                tenant_id=key.tenant_id,
                account_id=str(key.account_id),
                tasks=TASKS // 2,
                renewals=RENEWALS,
            )
            yield Shared(connection, emulator, key, order)
    finally:
        await connection.close()


async def test_twenty_tasks_of_two_daemons_renew_one_token_two_hundred_times(
    shared: Shared,
) -> None:
    daemons = [await shared.started() for _ in range(2)]

    reports = [await _report(daemon) for daemon in daemons]

    assert reports == [{}, {}]
    assert shared.ledger.granted[ADDRESS] >= RENEWALS
    assert dict(shared.ledger.refused) == {}
    (living,) = shared.ledger.refresh_tokens_of(ADDRESS)
    assert (await shared.stored())["refresh_token"] == Secret(living)


async def _report(daemon: anyio.abc.Process) -> Mapping[str, int]:
    assert daemon.stdout is not None
    told = b"".join([chunk async for chunk in daemon.stdout])
    assert await daemon.wait() == 0
    report: Mapping[str, int] = json.loads(told)
    return report


@pytest.mark.parametrize(
    ("rotation", "report"), [(Rotation.ONE_TIME, {"AuthRefused": 1}), (Rotation.NEW, {})]
)
async def test_a_daemon_killed_between_rotation_and_commit_costs_a_reconnect_only_where_it_must(
    shared: Shared, rotation: Rotation, report: Mapping[str, int]
) -> None:
    """What the issuer made and we never saw cannot be had; where old tokens go on, all is well."""
    ledger = shared.ledger
    ledger.rotation = rotation
    before = await shared.stored()
    ledger.victim = await shared.started(tasks=1)
    killed = await ledger.victim.wait()
    ledger.victim = None
    after = await shared.stored()
    await shared.connection.execute("UPDATE provider_configs SET renewal_until = now()")

    survivor = await shared.started(tasks=1, renewals=2)

    assert killed == -signal.SIGKILL
    assert after == before
    assert await _report(survivor) == report
