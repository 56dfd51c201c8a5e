"""Being told by Postgres: LISTEN on a connection of its own, and what the notifications mean.

A notification is a hint and nothing depends on it: whoever misses one finds the account at the
next tick, and the change at the next look. A pooled connection would forget the LISTEN when it is
returned.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

import anyio
import asyncpg
import orjson
import structlog

from emailsync.domain.accounts import AccountId, TenantId
from emailsync.domain.jobs import Moved
from emailsync.store.database import CONNECT_TIMEOUT_S, SERVER_FAILURES

WAKE: Final = "emailsync_wake"  #: an account became due, was asked for, or has another priority
CHANGES: Final = "emailsync_changes"  #: the change feed grew; the payload is the tenant
PROBE_EVERY_S: Final = 30.0  #: a connection that died silently is noticed after this long
PROBE_TIMEOUT_S: Final = 5.0
RECONNECT_AFTER_S: Final = 2.0

log = structlog.get_logger(__name__)


async def listen(url: str, heard: Mapping[str, Callable[[str], None]]) -> None:
    """Call what is `heard` on a channel with each payload, until cancelled.

    All are called with an empty payload after each (re)connection, since what was notified before
    it is not known.
    """
    while True:
        try:
            await _listen_once(url, heard)
        except SERVER_FAILURES as error:
            log.warning("wake_listener.lost", error_class=type(error).__name__)
        await anyio.sleep(RECONNECT_AFTER_S)


def moved_of(payload: str) -> Moved | None:
    """Return whose place in line a notification on WAKE says to have changed; None: nobody's."""
    try:
        told = orjson.loads(payload)
        account = told.get("account")
        return Moved(
            TenantId(told["tenant"]), None if account is None else AccountId(UUID(account))
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


async def _listen_once(url: str, heard: Mapping[str, Callable[[str], None]]) -> None:
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    try:
        closed = anyio.Event()
        connection.add_termination_listener(lambda _connection: closed.set())

        def pass_on(_connection: object, _pid: int, channel: str, payload: Any) -> None:
            heard[channel](str(payload))

        for channel in heard:
            await connection.add_listener(channel, pass_on)
        for tell in heard.values():
            tell("")
        while not closed.is_set():
            with anyio.move_on_after(PROBE_EVERY_S):
                await closed.wait()
                return
            await connection.fetchval("SELECT 1", timeout=PROBE_TIMEOUT_S)
    finally:
        connection.terminate()
