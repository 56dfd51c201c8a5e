"""From what `account add` was told to an account's settings, checked, and to the secret it has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from emailsync.commands.output import CommandFailed, ExitCode
from emailsync.domain.accounts import ProviderType
from emailsync.domain.errors import Misconfigured
from emailsync.providers.account_settings import check_settings
from emailsync.providers.imap.account_settings import Security
from emailsync.providers.oauth.classifier import Issuer

IMPLICIT_TLS_PORT: Final = 993
PLAIN_PORT: Final = 143
IMAP_HOSTS: Final = {
    Issuer.GOOGLE: "imap.gmail.com",
    Issuer.MICROSOFT: "outlook.office365.com",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapServer:
    """The server of an IMAP account, as far as it was named."""

    host: str | None
    port: int | None
    security: Security
    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWay:
    """How an account comes to tokens, as far as it was said."""

    oauth: Issuer | None  #: of an IMAP account's
    application: bool  #: by our own registration: nobody gave us a refresh token
    directory: str | None  #: Microsoft's


def settings_of(kind: ProviderType, server: ImapServer, way: TokenWay) -> Mapping[str, Any]:
    """Return the settings of an account, checked.

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
        check_settings(kind, settings)
    except Misconfigured as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from error
    return settings


def option_of(secret: str | None) -> str:
    """Return the option by which a secret of this name is given; None: how to do without one."""
    return "no secret" if secret is None else f"--{secret.replace('_', '-')}-stdin"


def _imap_settings(server: ImapServer, issuer: Issuer | None) -> dict[str, Any]:
    host = server.host or (IMAP_HOSTS[issuer] if issuer else None)
    if host is None:
        raise CommandFailed("--host is missing: the IMAP server's name", ExitCode.USAGE)
    usual_port = IMPLICIT_TLS_PORT if server.security is Security.TLS else PLAIN_PORT
    return {
        "host": host,
        "port": usual_port if server.port is None else server.port,
        "security": server.security.value,
        "username": server.username,
    } | ({"oauth": issuer.value} if issuer else {})


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
