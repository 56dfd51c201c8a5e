"""Being told that an account became due at once: NOTIFY emailsync_wake, on a connection of its own.

A notification is a hint and nothing depends on it: whoever misses one finds the account at the
next tick. A pooled connection would forget the LISTEN when it is returned.
"""

from collections.abc import Callable
from typing import Final

import anyio
import asyncpg
import structlog

from emailsync.store.database import CONNECT_TIMEOUT_S, SERVER_FAILURES

CHANNEL: Final = "emailsync_wake"
PROBE_EVERY_S: Final = 30.0  #: a connection that died silently is noticed after this long
PROBE_TIMEOUT_S: Final = 5.0
RECONNECT_AFTER_S: Final = 2.0

log = structlog.get_logger(__name__)


async def listen_for_wake(url: str, on_wake: Callable[[], None]) -> None:
    """Call `on_wake` at each notification, until cancelled; listen again after a lost connection.

    Also called after each (re)connection, since what was notified before it is not known.
    """
    while True:
        try:
            await _listen_once(url, on_wake)
        except SERVER_FAILURES as error:
            log.warning("wake_listener.lost", error_class=type(error).__name__)
        await anyio.sleep(RECONNECT_AFTER_S)


async def _listen_once(url: str, on_wake: Callable[[], None]) -> None:
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    try:
        closed = anyio.Event()
        connection.add_termination_listener(lambda _connection: closed.set())
        await connection.add_listener(CHANNEL, lambda *_notification: on_wake())
        on_wake()
        while not closed.is_set():
            with anyio.move_on_after(PROBE_EVERY_S):
                await closed.wait()
                return
            await connection.fetchval("SELECT 1", timeout=PROBE_TIMEOUT_S)
    finally:
        connection.terminate()
