"""Microsoft's tokens by msal: a user's refresh token, or client credentials for a directory.

Runs in threads: msal is synchronous, and takes a fifth of a second to import. Each call has a
client of its own, which costs half a millisecond: one that is kept collects the tokens of all
users, and answers a refused refresh token with the same refusal for a minute without asking.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msal

from emailsync.config import MicrosoftOAuthSettings, OAuthSettings
from emailsync.crypto import Secret
from emailsync.providers.oauth import registration, scopes
from emailsync.providers.oauth.audiences import Audience
from emailsync.providers.oauth.classifier import Grant, Issuer
from emailsync.providers.oauth.issuers import graph_resource, token_url
from emailsync.providers.oauth.sign_in import SignIn
from emailsync.providers.oauth.token_set import Granted

APPLICATION_RESOURCE: Final = {Audience.OUTLOOK_IMAP: "https://outlook.office365.com"}
USER_RESOURCE: Final = {Audience.OUTLOOK_IMAP: "https://outlook.office.com"}

Post = Callable[[str, bytes, Grant], Granted]


def exchange(
    sign_in: SignIn, refresh_token: Secret | None, settings: OAuthSettings, post: Post
) -> Granted:
    """Return a new access token, and for a user a new refresh token.

    Args:
        sign_in: for whom and for what.
        refresh_token: the owner's; None for application permission.
        settings: our registration.
        post: sends a form to a URL and returns the tokens, or raises.

    Raises:
        OperatorMustAct: our registration is incomplete or refused.
        SyncError: as classifier.py says.
    """
    ours = settings.microsoft
    url = token_url(settings, Issuer.MICROSOFT, sign_in.tenant)
    http = _Http(lambda form: post(url, form, sign_in.grant))
    client = msal.ConfidentialClientApplication(
        registration.client_id(settings, Issuer.MICROSOFT),
        client_credential=registration.client_secret(settings, Issuer.MICROSOFT).reveal(),
        authority=f"https://issuer.invalid/{sign_in.tenant or 'common'}",
        http_client=http,
        instance_discovery=False,
        azure_region=False,
    )
    if refresh_token is None:
        resource = _resource(APPLICATION_RESOURCE, sign_in.audience, ours)
        client.acquire_token_for_client([f"{resource}/.default"])
    else:
        resource = _resource(USER_RESOURCE, sign_in.audience, ours)
        scope = f"{resource}/{scopes.MICROSOFT[sign_in.audience]}"
        client.acquire_token_by_refresh_token(refresh_token.reveal(), [scope])
    assert http.granted is not None, "a token without a request"
    if refresh_token is not None:
        scopes.check_scopes(sign_in.audience, http.granted.scopes)
    return http.granted


def _resource(
    of_audience: Mapping[Audience, str], audience: Audience, settings: MicrosoftOAuthSettings
) -> str:
    """Return what the token opens."""
    return of_audience.get(audience) or graph_resource(settings)


class _Http:
    """msal's way to HTTP; it keeps the answer, of which msal drops a part.

    msal insists on discovering its endpoints and on https: it is told addresses that nobody asks.
    """

    def __init__(self, post: Callable[[bytes], Granted]) -> None:
        self._post = post
        self.granted: Granted | None = None

    def get(self, url: str, **_kwargs: Any) -> "_Response":
        base = url.partition("/v2.0/")[0]
        return _Response(
            {
                "issuer": base,
                "authorization_endpoint": f"{base}/authorize",
                "token_endpoint": f"{base}/token",
            }
        )

    def post(self, _url: str, *, data: Mapping[str, str], **_kwargs: Any) -> "_Response":
        granted = self.granted = self._post(urlencode(data).encode("ascii"))
        return _Response(
            {
                "access_token": granted.access_token.reveal(),
                "expires_in": int(granted.lifetime.total_seconds()),
                "token_type": "Bearer",
            }
        )

    def close(self) -> None:
        """Nothing is held."""


class _Response:
    """A success as msal reads it."""

    status_code = 200
    headers: Mapping[str, str] = {}

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.text = json.dumps(fields)

    def raise_for_status(self) -> None:
        """It is a success."""
