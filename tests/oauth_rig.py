"""The emulated issuers on a real socket, our registration there, and accounts that have tokens."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from clock import SettableClock
from emailsync.config import (
    GoogleOAuthSettings,
    LiveSettings,
    MicrosoftOAuthSettings,
    OAuthSettings,
    Settings,
)
from emailsync.crypto import Secret
from emailsync.domain.accounts import AccountId, AccountKey, ProviderType, TenantId
from emailsync.emulators.http_host import serve
from emailsync.emulators.oauth.app import OAuthEmulator
from emailsync.emulators.oauth.ledger import OAuthLedger
from emailsync.ports import Account
from emailsync.providers.oauth.audiences import Audience
from emailsync.providers.oauth.token_memory import TokenMemory
from emailsync.providers.oauth.tokens import AccountTokens, OAuthTokens, oauth_tokens

CLIENT_ID = "the-client"
CLIENT_SECRET = "Canary-client-secret"
DEADLINE_S = 1.0  #: for an answer of a token endpoint
SERVICE_ACCOUNT = "sync@project.iam.gserviceaccount.com"
PROVIDERS = {
    Audience.GMAIL: ProviderType.GOOGLE,
    Audience.GRAPH: ProviderType.MICROSOFT,
    Audience.GOOGLE_IMAP: ProviderType.IMAP,
    Audience.OUTLOOK_IMAP: ProviderType.IMAP,
}


@dataclass
class OAuthRig:
    """The issuers, and a daemon's tokens from them."""

    emulator: OAuthEmulator
    tokens: OAuthTokens
    vault: TokenMemory
    clock: SettableClock
    secrets: Path  #: the folder of our secrets' files
    settings: LiveSettings
    accounts: dict[AccountKey, Audience] = field(default_factory=dict)

    @property
    def ledger(self) -> OAuthLedger:
        return self.emulator.ledger

    def account(
        self,
        audience: Audience,
        address: str = "ann@example.test",
        *,
        credentials: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> Account:
        """Return an account whose owner agreed; its credentials are in the vault."""
        if credentials is None:
            credentials = {"refresh_token": self.ledger.add_user(address, client_id=CLIENT_ID)}
        held = {name: Secret(value) for name, value in credentials.items()}
        key = AccountKey(TenantId("acme"), AccountId(uuid4()))
        self.vault.place(key, held)
        return Account(
            key=key,
            provider_type=PROVIDERS[audience],
            email_address=address,
            settings=settings,
            credentials=held,
        )

    def of(self, account: Account, audience: Audience) -> AccountTokens:
        """Return the account's tokens as a new session has them: as they are stored now."""
        stored = Account(
            key=account.key,
            provider_type=account.provider_type,
            email_address=account.email_address,
            settings=account.settings,
            credentials=self.vault.held(account.key),
        )
        return self.tokens.of(stored, audience)

    def owner_of(self, token: Secret) -> str | None:
        """Return whose mailbox the token opens now."""
        return self.emulator.mailbox_of(token.reveal())


def oauth_settings(base_url: str, secrets: Path) -> OAuthSettings:
    """Return our registration at the emulated issuers; the files are made."""
    for name, text in (("secret", CLIENT_SECRET), ("service-account", "{}")):
        (secrets / name).write_text(text + "\n")
        (secrets / name).chmod(0o600)
    return OAuthSettings(
        google=GoogleOAuthSettings(
            client_id=CLIENT_ID,
            client_secret_file=secrets / "secret",
            service_account_file=secrets / "service-account",
            token_url=f"{base_url}/google/token",
        ),
        microsoft=MicrosoftOAuthSettings(
            client_id=CLIENT_ID,
            client_secret_file=secrets / "secret",
            authority=f"{base_url}/common",
        ),
    )


@asynccontextmanager
async def running_issuers(secrets: Path) -> AsyncIterator[OAuthRig]:
    """Serve the issuers, with our client registered, by a clock that only the test moves."""
    clock = SettableClock()
    emulator = OAuthEmulator(OAuthLedger(clock=lambda: clock.now().timestamp()))
    emulator.ledger.add_client(CLIENT_ID, CLIENT_SECRET)
    async with serve(emulator.app) as base_url:
        settings = LiveSettings(Settings(oauth=oauth_settings(base_url, secrets)))
        vault = TokenMemory()
        async with oauth_tokens(settings, vault, clock, deadline_s=DEADLINE_S) as tokens:
            yield OAuthRig(emulator, tokens, vault, clock, secrets, settings)
