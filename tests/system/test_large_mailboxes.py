"""What is large in a mailbox neither blocks the daemon's loop nor fills its memory.

The figures are the daemon's own: its resident memory by the kernel, and the longest time that
its event loop was held up by its own work.
"""

import re
import urllib.request

import anyio.to_thread
import pytest

from daemon import Daemon
from dovecot_mailbox import DovecotMailbox
from emailsync.emulators.mail_generator import GeneratedMail, generate
from installation import Installation

MAX_RESIDENT_BYTES = 300 * 1024 * 1024
MAX_STALL_S = 0.1
SYNCED_WITHIN_S = 400
ANY = generate(1, 0, recipient="b@large.test")  #: to make one takes a quarter of a millisecond

pytestmark = pytest.mark.timeout(600)


def small_mail(number: int, recipient: str) -> GeneratedMail:
    """Return a message of some 300 bytes: the number of messages is what counts here."""
    raw = (
        f"Message-ID: <{number}@large.test>\r\nFrom: a@large.test\r\nTo: {recipient}\r\n"
        f"Subject: number {number}\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\n\r\n"
        f"This is message {number}.\r\n"
    )
    return GeneratedMail(raw=raw.encode(), sent_at=ANY.sent_at, flags=ANY.flags)


def metrics_of(installation: Installation) -> str:
    """Return the daemon's metrics page."""
    token = (installation.folder / "state" / "http-token").read_text().split()[0]
    request = urllib.request.Request(
        f"{installation.http_url}/health/metrics", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request) as answer:
        page: str = answer.read().decode()
    return page


async def assert_calm(installation: Installation, daemon: Daemon) -> None:
    """Hold memory and loop against their limits."""
    metrics = await anyio.to_thread.run_sync(metrics_of, installation)
    stalls = {
        float(bound): float(count)
        for bound, count in re.findall(
            r'^event_loop_stall_seconds_bucket\{le="([^"]+)"\} (\S+)$', metrics, re.MULTILINE
        )
    }
    assert stalls[MAX_STALL_S] == stalls[float("inf")] > 0, metrics
    assert daemon.peak_resident_bytes() < MAX_RESIDENT_BYTES


async def test_a_folder_of_100_000_messages(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    mailbox.deliver(small_mail(n, mailbox.user) for n in range(100_000))
    installation.add_account(mailbox)

    async with installation.daemon() as daemon:
        await daemon.wait_for_event("sync.job_finished", result="done", timeout_s=SYNCED_WITHIN_S)
        await assert_calm(installation, daemon)

    assert await installation.stored(mailbox.user) == mailbox.snapshot()


async def test_1_500_folders(installation: Installation, mailbox: DovecotMailbox) -> None:
    with mailbox.connection() as imap:
        for n in range(1_500):
            imap.create(f"Folder{n:04}")
    mailbox.append(b"Subject: the only one\r\n\r\nhello\r\n", folder="Folder1499")
    installation.add_account(mailbox)

    async with installation.daemon() as daemon:
        await daemon.wait_for_event("sync.job_finished", result="done", timeout_s=SYNCED_WITHIN_S)
        await assert_calm(installation, daemon)

    assert await installation.stored(mailbox.user) == mailbox.snapshot()


async def test_a_message_of_100_mb_is_stored_by_its_headers_and_marked(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    header = b"Subject: everything at once\r\nMessage-ID: <huge@large.test>\r\n\r\n"
    line = b"x" * 76 + b"\r\n"
    mailbox.append(header + line * (100 * 1024 * 1024 // len(line)))
    mailbox.append(b"Subject: small\r\n\r\nhello\r\n")
    installation.add_account(mailbox)

    async with installation.daemon() as daemon:
        await daemon.wait_for_event("sync.job_finished", result="done", timeout_s=SYNCED_WITHIN_S)
        await assert_calm(installation, daemon)

    huge, small = await installation.fetch(
        "SELECT subject, is_truncated, raw, size_bytes FROM messages ORDER BY size_bytes DESC"
    )
    assert (huge["subject"], huge["is_truncated"], huge["raw"]) == (
        "everything at once",
        True,
        header,
    )
    assert huge["size_bytes"] > 100_000_000
    assert (small["subject"], small["is_truncated"]) == ("small", False)


async def test_messages_just_below_the_limit_are_stored_whole(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    """Four of 45 MB, the largest that the default settings store, pass one at a time."""
    line = b"x" * 76 + b"\r\n"
    for n in range(4):
        mailbox.append(b"Subject: large %d\r\n\r\n" % n + line * (45_000_000 // len(line)))
    installation.add_account(mailbox)

    async with installation.daemon() as daemon:
        await daemon.wait_for_event("sync.job_finished", result="done", timeout_s=SYNCED_WITHIN_S)
        await assert_calm(installation, daemon)

    assert await installation.stored(mailbox.user) == mailbox.snapshot()
