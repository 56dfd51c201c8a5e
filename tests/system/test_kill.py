"""A daemon that is killed loses nothing and stores nothing twice."""

import os
import random
import subprocess
from datetime import timedelta

from daemon import COMMAND
from dovecot_mailbox import DovecotMailbox
from emailsync.emulators.mail_generator import generate
from installation import Installation
from servers import LOOPBACK, free_port

MESSAGES = 1_500
KILLS = 6
LEASE_S = 3
SHORT_LEASE = {"cluster": {"lease_s": LEASE_S, "heartbeat_s": 1}}


async def start_sync_and_kill_it(installation: Installation, *, after_messages: int) -> int:
    """Run `sync`, kill it once so many messages are stored in all; return how many were."""
    process = subprocess.Popen(
        [COMMAND, "--config", installation.settings_file, "sync"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None:
            [row] = await installation.fetch("SELECT count(*) AS stored FROM messages")
            if row["stored"] >= after_messages:
                break
    finally:
        process.kill()
        process.wait()
    [row] = await installation.fetch("SELECT count(*) AS stored FROM messages")
    return int(row["stored"])


async def test_six_kills_in_a_first_sync_lose_nothing_and_store_nothing_twice(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    """The moments are random by the number of messages stored; a seed repeats them."""
    installation.configure(SHORT_LEASE)
    mailbox.deliver(generate(7, n, recipient=mailbox.user) for n in range(MESSAGES))
    installation.add_account(mailbox)
    seed = os.environ.get("EMAILSYNC_SEED", "7")
    moments = sorted(random.Random(seed).sample(range(MESSAGES), KILLS))

    stored = [
        await start_sync_and_kill_it(installation, after_messages=moment) for moment in moments
    ]
    done = installation.run("sync")

    assert done.returncode == 0, done.stderr
    assert any(0 < count < MESSAGES for count in stored), "no kill hit a sync under way"
    assert await installation.stored(mailbox.user) == mailbox.snapshot()
    [row] = await installation.fetch("SELECT count(*) AS stored FROM messages")
    assert row["stored"] == MESSAGES
    created = await installation.fetch(
        "SELECT message_id FROM changes GROUP BY message_id HAVING count(*) > 1"
    )
    assert created == []


async def test_a_killed_daemon_is_followed_within_the_lease(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    """Another daemon that waits claims the account as soon as the dead one's lease has run out."""
    mailbox.deliver(generate(8, n, recipient=mailbox.user) for n in range(MESSAGES))
    installation.configure(SHORT_LEASE)
    async with installation.daemon() as one:
        elsewhere = {"http": {"listen": f"{LOOPBACK}:{free_port()}"}}
        installation.configure(SHORT_LEASE | elsewhere)
        async with installation.daemon() as other:
            installation.add_account(mailbox)
            while not (await installation.fetch("SELECT FROM messages LIMIT 1")):
                assert (one.process.poll(), other.process.poll()) == (None, None)
            [held] = await installation.fetch("SELECT lease_owner FROM provider_configs")
            holder, heir = (one, other) if held[0].endswith(f":{one.pid}") else (other, one)
            await holder.kill()
            [lease] = await installation.fetch("SELECT lease_until, now() FROM provider_configs")

            line = await heir.wait_for_event("sync.job_finished", result="done")

    [run] = await installation.fetch("SELECT min(started_at) AS started_at FROM sync_runs")
    assert timedelta() < lease["lease_until"] - lease["now"] <= timedelta(seconds=LEASE_S)
    assert run["started_at"] - lease["lease_until"] < timedelta(seconds=LEASE_S)
    assert line["error"] is None
    assert await installation.stored(mailbox.user) == mailbox.snapshot()
