"""The tools that the system tests hold the product with."""

import pytest

from daemon import DaemonFailedError
from dovecot_mailbox import DovecotMailbox
from emailsync.emulators.mail_generator import generate
from installation import Installation


async def test_what_a_command_synced_is_seen_in_the_form_of_the_mailbox(
    installation: Installation, mailbox: DovecotMailbox
) -> None:
    mailbox.deliver(generate(1, index, recipient=mailbox.user) for index in range(30))
    installation.add_account(mailbox)

    done = installation.run("sync", "--json")

    assert done.returncode == 0, done.stderr
    assert await installation.stored(mailbox.user) == mailbox.snapshot()


async def test_a_daemon_is_awaited_by_what_it_says(installation: Installation) -> None:
    async with installation.daemon() as daemon:
        started = await daemon.wait_for_event("daemon.started")
        assert started in daemon.log()
        assert daemon.notifications == ["READY=1"]
        assert daemon.cpu_s() > 0
        assert daemon.peak_resident_bytes() > 1_000_000

        assert await daemon.terminate() == 0

    assert daemon.events("daemon.stopped")


async def test_a_daemon_that_ends_early_shows_its_last_words(installation: Installation) -> None:
    installation.configure({"email_sync": {"crom": "* * * * *"}})

    with pytest.raises(DaemonFailedError, match=r"(?s)ended with 2.*email_sync\.crom"):
        async with installation.daemon():
            pass
