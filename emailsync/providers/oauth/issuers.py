"""Where the issuers are: the addresses of their endpoints, as the settings have them or as usual.

Knows no library and reads no file, so it costs nothing to import.
"""

from typing import Final
from urllib.parse import urlsplit

from emailsync.config import MicrosoftOAuthSettings, OAuthSettings
from emailsync.providers.oauth.classifier import Issuer

GOOGLE_TOKEN_URL: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
GOOGLE_AUTH_URL: Final = "https://accounts.google.com/o/oauth2/v2/auth"
GRAPH: Final = "https://graph.microsoft.com"


def token_url(settings: OAuthSettings, issuer: Issuer, directory: str | None = None) -> str:
    """Return the token endpoint; of one Microsoft directory, if the settings leave it open."""
    if issuer is Issuer.GOOGLE:
        return settings.google.token_url or GOOGLE_TOKEN_URL
    ours = settings.microsoft
    return ours.token_url or f"{authority(ours, directory)}/oauth2/v2.0/token"


def authorization_url(settings: OAuthSettings, issuer: Issuer) -> str:
    """Return the page on which a mailbox's owner agrees."""
    if issuer is Issuer.GOOGLE:
        return settings.google.auth_url or GOOGLE_AUTH_URL
    ours = settings.microsoft
    return ours.auth_url or f"{authority(ours, None)}/oauth2/v2.0/authorize"


def admin_consent_url(settings: OAuthSettings, directory: str) -> str:
    """Return the page on which a Microsoft directory's administrator agrees."""
    return f"{authority(settings.microsoft, directory)}/v2.0/adminconsent"


def authority(settings: MicrosoftOAuthSettings, directory: str | None) -> str:
    """Return the authority of one directory; None: the settings'."""
    given = settings.authority.rstrip("/")
    return given if directory is None else f"{origin(given)}/{directory}"


def graph_resource(settings: MicrosoftOAuthSettings) -> str:
    """Return what a token for Graph opens; a Graph of a sovereign cloud is one of its own."""
    api = urlsplit(settings.api_url or GRAPH)
    return f"https://{api.netloc}" if api.scheme == "https" else GRAPH


def origin(url: str) -> str:
    """Return scheme and host of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
