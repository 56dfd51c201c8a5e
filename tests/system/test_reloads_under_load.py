"""Reloads while the daemon is busy: whatever they change, each job runs once and to its end."""

import signal
from collections.abc import Mapping
from typing import Any

from dovecot import DovecotServer
from emailsync.emulators.mail_generator import generate
from imap_accounts import add_accounts
from installation import Installation

ACCOUNTS = 40
TENANTS = 8
MESSAGES = 30
RELOADS = 20

#: Every claim raises the epoch by one and ends in one run: more of either is a job lost or doubled.
JOBS = """
SELECT email_address, lease_epoch AS claims, lease_owner, count(runs.id) AS runs,
    count(runs.id) FILTER (WHERE result = 'done') AS done,
    count(runs.id) FILTER (WHERE result NOT IN ('done', 'sliced')) AS failed,
    coalesce(sum(created), 0) AS created
FROM provider_configs AS account
LEFT JOIN sync_runs AS runs
    ON runs.tenant_id = account.tenant_id AND runs.provider_id = account.id
GROUP BY account.tenant_id, account.id
"""


def limits(number: int) -> Mapping[str, Any]:
    """Return the settings of one reload: everything that is live goes up and down."""
    return {
        "email_sync": {
            "batch_size": 1 + 7 * number % 50,
            "stagger_ms": 10 * (number % 3),
            "cron": f"*/{1 + number % 5} * * * *",
        },
        "limits": {"imap": {"concurrent": 1 + number % 4, "per_tenant": 1 + number % 2}},
        "queues": {"low": {"concurrency": 1 + 3 * number % 7, "limiter_max": 5 + number % 20}},
        "circuit_breaker": {"threshold": 3 + number % 3},
        "logging": {"level": "debug" if number % 2 else "info"},
    }


async def test_twenty_reloads_while_it_syncs_lose_no_job_and_double_none(
    installation: Installation, dovecot: DovecotServer
) -> None:
    mailboxes = [dovecot.mailbox(f"reload{number}@load.test") for number in range(ACCOUNTS)]
    for mailbox in mailboxes:
        mailbox.deliver(generate(5, n, recipient=mailbox.user) for n in range(MESSAGES))
    await add_accounts(
        installation, [(f"tenant-{n % TENANTS}", mailbox) for n, mailbox in enumerate(mailboxes)]
    )
    installation.configure(limits(0))

    async with installation.daemon() as daemon:
        for number in range(1, RELOADS + 1):
            await daemon.wait_for_event("sync.job_finished", count=number)
            installation.configure(limits(number))
            daemon.send(signal.SIGHUP)
            reloaded = await daemon.wait_for_event("config.reloaded", count=number)
            assert "limits.imap.concurrent" in reloaded["changed"]
        busy = ACCOUNTS - len(daemon.events("sync.job_finished", result="done"))
        await daemon.wait_for_event(
            "sync.job_finished", result="done", count=ACCOUNTS, timeout_s=90
        )
        code = await daemon.terminate()

    assert code == 0
    assert busy > 0, "the reloads came while there was work"
    jobs = await installation.fetch(JOBS)
    assert len(jobs) == ACCOUNTS
    for job in jobs:
        assert (job["runs"], job["done"], job["failed"]) == (job["claims"], 1, 0), dict(job)
        assert (job["created"], job["lease_owner"]) == (MESSAGES, None), dict(job)
    for mailbox in mailboxes:
        assert await installation.stored(mailbox.user) == mailbox.snapshot()
