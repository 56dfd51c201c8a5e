"""From what `account add` was told to an account's settings, checked, and to the secret it has."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from emailsync.commands.output import CommandFailed, ExitCode
from emailsync.config import ImapSettings
from emailsync.domain.accounts import ProviderType
from emailsync.domain.errors import Misconfigured
from emailsync.providers.account_settings import check_settings, secret_of
from emailsync.providers.imap.account_settings import Security
from emailsync.providers.oauth.classifier import Issuer
from emailsync.store.accounts import NewAccount

IMPLICIT_TLS_PORT: Final = 993
PLAIN_PORT: Final = 143


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapServer:
    """The server of an IMAP account, as far as it was named."""

    host: str | None
    port: int | None
    security: Security
    username: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWay:
    """How an account comes to tokens, as far as it was said."""

    oauth: Issuer | None  #: of an IMAP account's
    application: bool  #: by our own registration: nobody gave us a refresh token
    directory: str | None  #: Microsoft's


def settings_of(kind: ProviderType, server: ImapServer, way: TokenWay) -> Mapping[str, Any]:
    """Return the settings of an account, checked; without a host, its server is still to be found.

    Raises:
        CommandFailed: one is missing or wrong.
    """
    issuer = way.oauth if kind is ProviderType.IMAP else Issuer(kind.value)
    settings = _token_settings(issuer, way)
    if kind is ProviderType.IMAP:
        settings = _imap_settings(server, issuer) | settings
    elif way.oauth is not None or server.host is not None:
        raise CommandFailed("--oauth and --host are for accounts of the type imap", ExitCode.USAGE)
    try:
        if kind is ProviderType.IMAP and server.host is None:
            secret_of(kind, settings)
        else:
            check_settings(kind, settings)
    except Misconfigured as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error
    return settings


def option_of(secret: str | None) -> str:
    """Return the option by which a secret of this name is given; None: how to do without one."""
    return "no secret" if secret is None else f"--{secret.replace('_', '-')}-stdin"


async def with_server(new: NewAccount, settings: ImapSettings) -> NewAccount:
    """Return the account with its server, found by its address if none was named.

    Raises:
        CommandFailed: none is known.
    """
    if new.provider_type is not ProviderType.IMAP or "host" in new.settings:
        return new
    # Imported where it is needed: other commands do not speak HTTP.
    from emailsync.providers.imap.discovery import imap_servers  # noqa: PLC0415 - see above

    async with imap_servers(settings) as servers:
        try:
            found = await servers.find(new.email_address, oauth=new.settings.get("oauth"))
        except Misconfigured as error:
            raise CommandFailed(
                f"{error} (--host, --port, --security, --oauth)", ExitCode.USAGE
            ) from error
    return replace(new, settings=found.settings() | dict(new.settings))


def _imap_settings(server: ImapServer, issuer: Issuer | None) -> dict[str, Any]:
    settings: dict[str, Any] = {"oauth": issuer.value} if issuer else {}
    if server.username is not None:
        settings["username"] = server.username
    if server.host is None:
        if server.port is not None or server.security is not Security.TLS:
            raise CommandFailed("--port and --security need --host beside them", ExitCode.USAGE)
        return settings
    usual_port = IMPLICIT_TLS_PORT if server.security is Security.TLS else PLAIN_PORT
    return settings | {
        "host": server.host,
        "port": usual_port if server.port is None else server.port,
        "security": server.security.value,
    }


def _token_settings(issuer: Issuer | None, way: TokenWay) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if way.directory is not None:
        if issuer is not Issuer.MICROSOFT:
            raise CommandFailed("--directory is for Microsoft's accounts", ExitCode.USAGE)
        settings["tenant"] = way.directory
    if way.application:
        if issuer is None:
            raise CommandFailed("--application needs --oauth for IMAP", ExitCode.USAGE)
        name, value = {
            Issuer.GOOGLE: ("auth", "service_account"),
            Issuer.MICROSOFT: ("permission", "application"),
        }[issuer]
        settings[name] = value
    return settings
