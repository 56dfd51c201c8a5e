"""A database that crashes under a daemon loses nothing, and the daemon goes on by itself."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from dovecot import DovecotServer
from dovecot_mailbox import DovecotMailbox
from emailsync.emulators.mail_generator import generate
from installation import Installation, new_installation
from postgres import PostgresCluster, running_cluster

MESSAGES = 1_500
CRASHES = 3
SHORT_LEASE = {"cluster": {"lease_s": 3, "heartbeat_s": 1}}
POLL_S = 0.02

#: How far the sync is, and a server process of the daemon's that is inside a transaction.
UNDER_WAY = """
SELECT (SELECT count(*) FROM messages) AS stored,
       (SELECT min(pid) FROM pg_stat_activity
        WHERE application_name = 'emailsyncd' AND backend_xid IS NOT NULL) AS writer
"""


@pytest.fixture
def cluster() -> Iterator[PostgresCluster]:
    """A cluster of this test's own: whoever shared it would crash as well."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def installation(tmp_path: Path, cluster: PostgresCluster, dovecot: DovecotServer) -> Installation:
    """A configured `emailsyncd` on that cluster."""
    installation = new_installation(tmp_path, cluster.url(cluster.create_database()), dovecot)
    installation.configure(SHORT_LEASE)
    return installation


async def connected(installation: Installation) -> "asyncpg.Connection[asyncpg.Record]":
    """Return a connection, once the server takes one."""
    while True:
        try:
            return await asyncpg.connect(installation.database_url)
        except (OSError, asyncpg.CannotConnectNowError):
            await asyncio.sleep(POLL_S)


async def crash(installation: Installation, *, after_messages: int) -> int:
    """Kill the daemon's server process in a transaction once so many are stored; return how many.

    The server then ends all connections, and starts over from its write-ahead log.
    """
    connection = await connected(installation)
    try:
        while True:
            [row] = await connection.fetch(UNDER_WAY)
            if row["stored"] >= after_messages and row["writer"] is not None:
                os.kill(row["writer"], signal.SIGKILL)
                break
        while not connection.is_closed():
            await asyncio.sleep(POLL_S)
        return int(row["stored"])
    finally:
        connection.terminate()


async def test_three_crashes_in_a_first_sync_lose_nothing_and_store_nothing_twice(
    installation: Installation, cluster: PostgresCluster, mailbox: DovecotMailbox
) -> None:
    """The moments are random by the number of messages stored; a seed repeats them."""
    mailbox.deliver(generate(9, n, recipient=mailbox.user) for n in range(MESSAGES))
    seed = os.environ.get("EMAILSYNC_SEED", "9")
    moments = sorted(random.Random(seed).sample(range(MESSAGES * 3 // 4), CRASHES))

    async with installation.daemon() as daemon:
        installation.add_account(mailbox)
        stored = [await crash(installation, after_messages=moment) for moment in moments]
        await daemon.wait_for_event("sync.job_finished", result="done")
        assert await daemon.terminate() == 0

    log = (cluster.folder / "postgres.log").read_text()
    assert log.count("was not properly shut down") == CRASHES
    assert any(0 < count < MESSAGES for count in stored), "no crash hit a sync under way"
    assert await installation.stored(mailbox.user) == mailbox.snapshot()
    [row] = await installation.fetch("SELECT count(*) AS stored FROM messages")
    assert row["stored"] == MESSAGES
    told = await installation.fetch(
        "SELECT message_id FROM changes GROUP BY message_id HAVING count(*) > 1"
    )
    assert told == []
