"""A login is tried before it is stored; what fails says what to look at."""

from collections.abc import Mapping
from typing import Any

from emailsync.commands.output import CommandFailed
from emailsync.config import LiveSettings, Settings
from emailsync.crypto import Secret
from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    Misconfigured,
    OperatorMustAct,
    SyncError,
    Unreachable,
)
from emailsync.ports import Account
from emailsync.providers.imap.account_settings import Security
from emailsync.providers.network import not_allowed
from emailsync.providers.oauth.token_memory import TokenMemory
from emailsync.setting_values import is_loopback
from emailsync.system_clock import SystemClock


async def try_login(settings: Settings, account: Account, *, failed: str) -> Mapping[str, Secret]:
    """Log in as the daemon would; return the credentials as they are to be stored after that.

    Raises:
        CommandFailed: it does not work; the message says what did not happen, why, and what to do.
    """
    # Imported here: whoever tries no login has no use for the clients of all providers.
    from emailsync.providers.registry import session_openers  # noqa: PLC0415

    vault = TokenMemory()
    vault.place(account.key, account.credentials)
    kinds = {account.provider_type}
    async with session_openers(LiveSettings(settings), vault, SystemClock(), kinds) as openers:
        try:
            await openers[account.provider_type].test(account)
        except SyncError as error:
            reason = str(error).removesuffix(".")  # the server's own words may end with one
            told = (f"{failed}: {reason}", _advice(error, settings, account))
            raise CommandFailed("; ".join(filter(None, told))) from error
    return vault.held(account.key)


def is_sent_in_clear(account_settings: Mapping[str, Any]) -> bool:
    """Return whether an IMAP account's password can be read on its way through a network."""
    return account_settings["security"] == Security.NONE.value and not is_loopback(
        account_settings["host"]
    )


def _advice(error: SyncError, settings: Settings, account: Account) -> str:
    """Return what to do; nothing when the error says it, or when another try would not help."""
    has_password = "password" in account.credentials
    match error:
        case OperatorMustAct():
            return ""
        case Misconfigured():
            return _what_is_allowed(settings) if _is_barred(error, account.settings) else ""
        case AuthRefused() | AuthUnproven() if not has_password:
            advice = "check that the token was issued for this mailbox and to this client"
        case AuthRefused() | AuthUnproven():
            advice = "check user name and password (many providers want an app password)"
        case Unreachable() if has_password:
            advice = "check host, port and security"
        case _:
            advice = "try again later"
    return f"{advice}, or skip this test with --no-test"


def _is_barred(error: Misconfigured, settings: Mapping[str, Any]) -> bool:
    """Return whether the configuration does not allow an IMAP account's server."""
    return "host" in settings and str(error) == str(not_allowed(settings["host"], settings["port"]))


def _what_is_allowed(settings: Settings) -> str:
    ports = ", ".join(map(str, settings.imap.allowed_ports))
    private = "true" if settings.imap.allow_private_hosts else "false"
    return (
        f"the configuration decides this: imap.allowed_ports is [{ports}], "
        f"imap.allow_private_hosts (hosts of the daemon's own network) is {private}; "
        "the daemon takes a change over when it is restarted"
    )
