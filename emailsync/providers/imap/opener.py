"""Opens IMAP sessions: from an account's settings to a logged-in connection."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emailsync.config import LiveSettings
from emailsync.crypto import Secret
from emailsync.domain.errors import Misconfigured
from emailsync.ports import Account, StoredMail
from emailsync.providers.imap.bodies import BodyFetcher
from emailsync.providers.imap.connection import ImapConnection, connect
from emailsync.providers.imap.dialling import ImapTarget, Security
from emailsync.providers.imap.login import Login, PasswordLogin, TokenLogin
from emailsync.providers.imap.protocol import WireLimits
from emailsync.providers.imap.session import ImapSession
from emailsync.providers.network import HostResolver

LITERAL_SLACK_BYTES: Final = 16 * 1024 * 1024
"""A message may be larger than the server announced: converted line ends, a stale cache."""


class ImapAccountSettings(BaseModel):
    """`provider_configs.settings` of an IMAP account."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1, max_length=253)
    port: int = Field(ge=1, le=65_535)
    security: Security
    username: str = Field(min_length=1, max_length=320)

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "ImapAccountSettings":
        """Return the settings of a stored account.

        Raises:
            Misconfigured: naming the first wrong setting, never its value.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Misconfigured(f"the account's setting {where}: {first['msg']}") from error


class ImapOpener:
    """The `SessionOpener` of IMAP; one a daemon."""

    def __init__(
        self, settings: LiveSettings, resolver: HostResolver, tls_context: ssl.SSLContext
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._tls_context = tls_context
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
        login = _login(settings, account.credentials)
        pinned = await self._resolver.resolve(settings.host, settings.port)
        target = ImapTarget(
            host=settings.host,
            port=settings.port,
            addresses=pinned.addresses,
            security=settings.security,
            tls_context=self._tls_context,
        )
        limit = self._settings.current.store.max_message_bytes + LITERAL_SLACK_BYTES
        async with connect(target, login, WireLimits(max_literal_bytes=limit)) as connection:
            yield connection


def _login(settings: ImapAccountSettings, credentials: Mapping[str, Secret]) -> Login:
    if "access_token" in credentials:
        return TokenLogin(settings.username, credentials["access_token"])
    if "password" in credentials:
        return PasswordLogin(settings.username, credentials["password"])
    raise Misconfigured("the account has no password: set one and resume it")
