"""The wake-up call from Postgres, and its return after the connection is gone."""

import anyio
import asyncpg

from emailsync.store.wake import WAKE, listen


async def notify(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("SELECT pg_notify($1, '')", WAKE)
    await connection.close()


async def cut_listeners(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


class Calls:
    """Counts the calls and lets a test wait for the next one."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[None](100)

    def __call__(self, _payload: str) -> None:
        self._send.send_nowait(None)

    async def next(self) -> None:
        with anyio.fail_after(10):
            await self._receive.receive()

    def close(self) -> None:
        self._send.close()
        self._receive.close()


async def test_a_notification_is_heard_and_heard_again_after_a_lost_connection(
    database_url: str,
) -> None:
    calls = Calls()

    async with anyio.create_task_group() as group:
        group.start_soon(listen, database_url, {WAKE: calls})
        await calls.next()  # connected
        await notify(database_url)
        await calls.next()
        await cut_listeners(database_url)
        await calls.next()  # connected again
        await notify(database_url)
        await calls.next()
        group.cancel_scope.cancel()
    calls.close()
