"""XOAUTH2 at a real Dovecot, which asks the issuer whose a token is."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
import pytest

from dovecot import DovecotServer, running_dovecot
from emailsync.config import ImapSettings, LiveSettings, Settings
from emailsync.crypto import Secret
from emailsync.domain.accounts import ProviderType
from emailsync.domain.errors import AuthRefused
from emailsync.emulators.http_host import serve
from emailsync.emulators.oauth.app import TOKENINFO_PATH, OAuthEmulator
from emailsync.emulators.oauth.ledger import Rotation
from oauth_rig import CLIENT_ID, CLIENT_SECRET, oauth_settings
from sync_rig import AccountRow, SyncRig, sync_rig

SCOPES = {
    "google": ["https://mail.google.com/"],
    "microsoft": ["https://outlook.office.com/IMAP.AccessAsUser.All"],
}
MAIL = b"Subject: hello\r\n\r\nbody\r\n"


@dataclass
class ImapByTokens:
    """A Dovecot that takes tokens, their issuers, and what an account needs to be synced."""

    dovecot: DovecotServer
    emulator: OAuthEmulator
    settings: LiveSettings
    database_url: str
    folder: Path
    stack: AsyncExitStack

    async def account(self, issuer: str, address: str) -> SyncRig:
        """Return an account whose owner agreed, one message in its mailbox."""
        mailbox = self.dovecot.mailbox(address)
        await anyio.to_thread.run_sync(mailbox.append, MAIL)
        token = self.emulator.ledger.add_user(address, client_id=CLIENT_ID, scopes=SCOPES[issuer])
        row = AccountRow(
            provider_type=ProviderType.IMAP,
            email_address=address,
            settings={
                "host": self.dovecot.host,
                "port": self.dovecot.port,
                "security": "none",
                "username": address,
                "oauth": issuer,
            },
            credentials={"refresh_token": Secret(token)},
            endpoint=f"{self.dovecot.host}:{self.dovecot.port}",
        )
        return await self.stack.enter_async_context(
            sync_rig(self.database_url, row, settings=self.settings, key_file=self.folder / "keys")
        )


@pytest.fixture
async def imap(database_url: str, tmp_path: Path) -> AsyncIterator[ImapByTokens]:
    emulator = OAuthEmulator()
    emulator.ledger.rotation = Rotation.ONE_TIME
    emulator.ledger.add_client(CLIENT_ID, CLIENT_SECRET)
    async with AsyncExitStack() as stack:
        issuers = await stack.enter_async_context(serve(emulator.app))
        with running_dovecot(f"{issuers}{TOKENINFO_PATH}?access_token=") as dovecot:
            settings = LiveSettings(
                Settings(
                    imap=ImapSettings(allowed_ports=(dovecot.port,), allow_private_hosts=True),
                    oauth=oauth_settings(issuers, tmp_path),
                )
            )
            async with AsyncExitStack() as accounts:
                yield ImapByTokens(dovecot, emulator, settings, database_url, tmp_path, accounts)


@pytest.mark.parametrize("issuer", ["google", "microsoft"])
async def test_an_imap_account_syncs_by_tokens_and_renews_one_that_the_server_refuses(
    imap: ImapByTokens, issuer: str
) -> None:
    account = await imap.account(issuer, f"ann-{issuer}@example.test")
    first = await account.sync()
    imap.emulator.ledger.expire_access_tokens()

    await account.sync()

    assert first.created == 1
    assert imap.emulator.ledger.granted.total() == 2
    assert imap.emulator.ledger.refused.total() == 0


async def test_a_mailbox_whose_owner_revoked_the_consent_asks_for_a_person(
    imap: ImapByTokens,
) -> None:
    account = await imap.account("google", "bob@example.test")
    await account.sync()
    imap.emulator.ledger.revoke("bob@example.test")

    with pytest.raises(AuthRefused, match=r"invalid_grant"):
        await account.sync()
