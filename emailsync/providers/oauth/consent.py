"""What a mailbox's owner is asked in the browser, and the form that redeems the code.

The authorization code flow with PKCE (RFC 6749 section 4.1, RFC 7636) is the same at both issuers,
so no library is asked: msal would keep the state and insist on https, google-auth has none. Pure
but for the file of the client's secret.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from emailsync.config import OAuthSettings
from emailsync.crypto import Secret
from emailsync.providers.oauth import issuers, registration, scopes
from emailsync.providers.oauth.audiences import Audience
from emailsync.providers.oauth.classifier import Issuer
from emailsync.providers.oauth.sign_in import ISSUERS

OUTLOOK: Final = "https://outlook.office.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """One question to a mailbox's owner, the same when it is asked and when it is answered."""

    audience: Audience
    redirect_uri: str
    verifier: Secret  #: PKCE's

    @property
    def issuer(self) -> Issuer:
        """Who asks the owner."""
        return ISSUERS[self.audience]

    def url(self, settings: OAuthSettings, *, state: Secret, login_hint: str | None) -> str:
        """Return where to send the owner's browser.

        Raises:
            OperatorMustAct: the settings lack our client.
        """
        query = {
            "client_id": registration.client_id(settings, self.issuer),
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "scope": " ".join(self._scopes(settings)),
            "state": state.reveal(),
            "code_challenge": _s256(self.verifier),
            "code_challenge_method": "S256",
            **({} if login_hint is None else {"login_hint": login_hint}),
            **OWN_PARAMETERS[self.issuer],
        }
        return f"{issuers.authorization_url(settings, self.issuer)}?{urlencode(query)}"

    def code_form(self, settings: OAuthSettings, code: Secret) -> bytes:
        """Return the form that redeems a code (RFC 6749 section 4.1.3). Reads a file.

        Raises:
            OperatorMustAct: the settings lack our client or its secret.
        """
        fields = {
            "grant_type": "authorization_code",
            "code": code.reveal(),
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier.reveal(),
        }
        if self.issuer is Issuer.MICROSOFT:
            fields["scope"] = " ".join(self._graph_scopes(settings))
        return self._form(settings, fields)

    def refresh_form(self, settings: OAuthSettings, refresh_token: Secret) -> bytes:
        """Return the form for a token of the audience itself (RFC 6749 section 6). Reads a file.

        A token of Microsoft opens one resource, and the first one opens Graph. Raises as above.
        """
        fields = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token.reveal(),
            "scope": f"{OUTLOOK}/{scopes.MICROSOFT[self.audience]}",
        }
        return self._form(settings, fields)

    def _form(self, settings: OAuthSettings, fields: dict[str, str]) -> bytes:
        ours = {
            "client_id": registration.client_id(settings, self.issuer),
            "client_secret": registration.client_secret(settings, self.issuer).reveal(),
        }
        return urlencode(fields | ours).encode("ascii")

    def _scopes(self, settings: OAuthSettings) -> Sequence[str]:
        if self.issuer is Issuer.GOOGLE:
            return (scopes.GOOGLE[self.audience],)
        graph = self._graph_scopes(settings)
        if self.audience is Audience.OUTLOOK_IMAP:
            return (f"{OUTLOOK}/{scopes.MICROSOFT[self.audience]}", *graph)
        return graph

    def _graph_scopes(self, settings: OAuthSettings) -> Sequence[str]:
        """Return what Graph is asked for: whose mailbox it is, and its mail unless by IMAP."""
        graph = issuers.graph_resource(settings.microsoft)
        mail = [scopes.MICROSOFT[self.audience]] if self.audience is Audience.GRAPH else []
        return ("offline_access", *(f"{graph}/{name}" for name in (*mail, "User.Read")))


OWN_PARAMETERS: Final = {
    # Google gives a refresh token at the first consent only, unless it is told to ask again.
    Issuer.GOOGLE: {"access_type": "offline", "prompt": "consent"},
    Issuer.MICROSOFT: {"response_mode": "query", "prompt": "select_account"},
}


def admin_consent_url(
    settings: OAuthSettings, directory: str, *, redirect_uri: str, state: Secret
) -> str:
    """Return where to send the browser of a Microsoft directory's administrator.

    Source: learn.microsoft.com/entra/identity-platform/v2-admin-consent.

    Raises:
        OperatorMustAct: the settings lack our client.
    """
    query = {
        "client_id": registration.client_id(settings, Issuer.MICROSOFT),
        "redirect_uri": redirect_uri,
        "scope": f"{issuers.graph_resource(settings.microsoft)}/.default",
        "state": state.reveal(),
    }
    return f"{issuers.admin_consent_url(settings, directory)}?{urlencode(query)}"


def comes_from(settings: OAuthSettings, issuer: Issuer, told: str) -> bool:
    """Tell whether an answer's `iss` (RFC 9207) names the issuer that was asked.

    Google's is the origin of its page; Microsoft's begins with it, a directory's id follows.
    """
    expected = issuers.origin(issuers.authorization_url(settings, issuer))
    if issuer is Issuer.GOOGLE:
        return told == expected
    return told == expected or told.startswith(f"{expected}/")


def _s256(verifier: Secret) -> str:
    digest = hashlib.sha256(verifier.reveal().encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
