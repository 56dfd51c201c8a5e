"""Opens IMAP sessions: from an account's settings to a logged-in connection."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import anyio

from emailsync.config import LiveSettings
from emailsync.crypto import Secret
from emailsync.domain.errors import AuthRefused, AuthUnproven, Misconfigured
from emailsync.domain.quota_use import QuotaLevel
from emailsync.ports import Account, StoredMail
from emailsync.providers.imap.account_settings import AUDIENCES, ImapAccountSettings
from emailsync.providers.imap.bodies import BodyFetcher
from emailsync.providers.imap.connection import ImapConnection, connect
from emailsync.providers.imap.dialling import ImapTarget
from emailsync.providers.imap.login import PasswordLogin, TokenLogin
from emailsync.providers.imap.protocol import WireLimits
from emailsync.providers.imap.session import ImapSession
from emailsync.providers.network import HostResolver
from emailsync.providers.oauth.tokens import AccountTokens, OAuthTokens

LITERAL_SLACK_BYTES: Final = 16 * 1024 * 1024
"""A message may be larger than the server announced: converted line ends, a stale cache."""


class ImapOpener:
    """The `SessionOpener` of IMAP; one a daemon."""

    def __init__(
        self,
        settings: LiveSettings,
        resolver: HostResolver,
        tls_context: ssl.SSLContext,
        tokens: OAuthTokens,
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._tls_context = tls_context
        self._tokens = tokens
        self._large_lane = anyio.Semaphore(1)

    @asynccontextmanager
    async def open(self, account: Account, stored: StoredMail) -> AsyncIterator[ImapSession]:
        """Connect and log in; see SessionOpener."""
        async with self._connected(account) as connection:
            bodies = BodyFetcher(
                connection, self._settings.current.store.max_message_bytes, self._large_lane
            )
            try:
                yield ImapSession(connection, stored, bodies, settles=account.has_detached)
            finally:
                bodies.release()

    async def test(self, account: Account) -> None:
        """Log in and out again; see SessionOpener."""
        async with self._connected(account) as connection:
            await connection.noop()

    @asynccontextmanager
    async def _connected(self, account: Account) -> AsyncIterator[ImapConnection]:
        settings = ImapAccountSettings.read(account.settings)
        pinned = await self._resolver.resolve(settings.host, settings.port)
        target = ImapTarget(
            host=settings.host,
            port=settings.port,
            addresses=pinned.addresses,
            security=settings.security,
            tls_context=self._tls_context,
        )
        async with AsyncExitStack() as stack:
            if settings.oauth is None:
                login = PasswordLogin(settings.username, _password(account))
                yield await stack.enter_async_context(connect(target, login, self._limits()))
            else:
                tokens = self._tokens.of(account, AUDIENCES[settings.oauth])
                yield await self._connected_by_token(stack, target, settings.username, tokens)

    def quota_levels(self) -> Sequence[QuotaLevel]:
        """Return none: a server counts connections, which is a sync each; see SessionOpener."""
        return ()

    async def _connected_by_token(
        self, stack: AsyncExitStack, target: ImapTarget, username: str, tokens: AccountTokens
    ) -> ImapConnection:
        """Log in by XOAUTH2; a token that is refused is renewed once before that is believed."""
        token = await tokens.current()
        try:
            login = TokenLogin(username, token)
            return await stack.enter_async_context(connect(target, login, self._limits()))
        except (AuthRefused, AuthUnproven):
            login = TokenLogin(username, await tokens.renewed(token))
        return await stack.enter_async_context(connect(target, login, self._limits()))

    def _limits(self) -> WireLimits:
        largest = self._settings.current.store.max_message_bytes
        return WireLimits(max_literal_bytes=largest + LITERAL_SLACK_BYTES)


def _password(account: Account) -> Secret:
    if "password" not in account.credentials:
        raise Misconfigured("the account has no password: set one and resume it")
    return account.credentials["password"]
