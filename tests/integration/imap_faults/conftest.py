"""An account whose server answers wrongly, as each test has it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dovecot import DovecotServer
from dovecot_mailbox import DovecotMailbox
from emailsync.emulators.mail_generator import generate
from faulty_imap import MESSAGES
from rewriting_proxy import RewritingProxy, rewriting_proxy
from servers import LOOPBACK
from sync_harness import SyncedAccount, synced_account


@pytest.fixture
async def proxy(dovecot: DovecotServer) -> AsyncIterator[RewritingProxy]:
    """A proxy in front of Dovecot that changes nothing yet."""
    async with rewriting_proxy(dovecot.port) as proxy:
        yield proxy


@pytest.fixture
async def account(
    proxy: RewritingProxy, mailbox: DovecotMailbox, database_url: str, tmp_path: Path
) -> AsyncIterator[SyncedAccount]:
    """An account behind the proxy, with eighty messages in the inbox."""
    mailbox.deliver(generate(5, n, recipient=mailbox.user) for n in range(MESSAGES))
    async with synced_account(
        database_url, mailbox, host=LOOPBACK, port=proxy.port, key_file=tmp_path / "keys"
    ) as account:
        yield account
