"""Whether an account's settings can work, and which secret it has: one rule for whoever adds it."""

from collections.abc import Mapping
from typing import Any, Final

from emailsync.domain.accounts import ProviderType
from emailsync.providers.imap.account_settings import AUDIENCES, ImapAccountSettings
from emailsync.providers.oauth.audiences import Audience
from emailsync.providers.oauth.classifier import Grant
from emailsync.providers.oauth.sign_in import SignIn

API_AUDIENCES: Final = {
    ProviderType.GOOGLE: Audience.GMAIL,
    ProviderType.MICROSOFT: Audience.GRAPH,
}


def check_settings(kind: ProviderType, settings: Mapping[str, Any]) -> None:
    """Return if an account of this type may have these settings.

    Raises:
        Misconfigured: it may not; the message names the setting.
    """
    if kind is ProviderType.IMAP:
        ImapAccountSettings.read(settings)
    _sign_in(kind, settings)


def secret_of(kind: ProviderType, settings: Mapping[str, Any]) -> str | None:
    """Return the name of the one secret that the account has; None: it needs none.

    Raises:
        Misconfigured: its settings name no way to sign in.
    """
    sign_in = _sign_in(kind, settings)
    if sign_in is None:
        return "password"
    return "refresh_token" if sign_in.grant is Grant.USER else None


def audience_of(kind: ProviderType, settings: Mapping[str, Any]) -> Audience | None:
    """Return what such an account's tokens are for; None: it has a password."""
    if kind is ProviderType.IMAP:
        return AUDIENCES.get(settings.get("oauth", ""))
    return API_AUDIENCES[kind]


def _sign_in(kind: ProviderType, settings: Mapping[str, Any]) -> SignIn | None:
    """Return how such an account comes to its tokens; None: it has a password."""
    audience = audience_of(kind, settings)
    return None if audience is None else SignIn.of("", settings, audience)
