"""Who is served when many wait."""

from dovecot import DovecotServer
from emailsync.emulators.mail_generator import generate
from installation import Installation

MESSAGES = 500


async def test_one_account_beside_ten_of_another_tenant_is_served_after_two_at_most(
    installation: Installation, dovecot: DovecotServer
) -> None:
    crowd = [dovecot.mailbox(f"crowd{n}@fair.test") for n in range(10)]
    single = dovecot.mailbox("single@fair.test")
    for mailbox in [*crowd, single]:
        mailbox.deliver(generate(9, n, recipient=mailbox.user) for n in range(MESSAGES))
    for mailbox in crowd:
        installation.add_account(mailbox, tenant="crowd", words=("--no-test",))
    installation.add_account(single, tenant="single", words=("--no-test",))

    async with installation.daemon() as daemon:
        await daemon.wait_for_event("sync.job_finished", result="done", count=11, timeout_s=100)
        served = [line["tenant_id"] for line in daemon.events("sync.job_finished", result="done")]

    assert served.index("single") <= 2
    for mailbox in [*crowd, single]:
        assert await installation.stored(mailbox.user) == mailbox.snapshot()
