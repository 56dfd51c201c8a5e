"""Google's tokens by google-auth: a user's refresh token, or a service account for a mailbox.

Runs in threads: google-auth is synchronous, and takes a second to import.
"""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from google.auth import exceptions, transport
from google.oauth2 import credentials, service_account

from emailsync.config import OAuthSettings
from emailsync.crypto import Secret
from emailsync.domain.errors import OperatorMustAct
from emailsync.providers.oauth import registration, scopes
from emailsync.providers.oauth.classifier import Grant, Issuer
from emailsync.providers.oauth.issuers import token_url
from emailsync.providers.oauth.sign_in import SignIn
from emailsync.providers.oauth.token_set import Granted

Post = Callable[[str, bytes, Grant], Granted]


def exchange(
    sign_in: SignIn, refresh_token: Secret | None, settings: OAuthSettings, post: Post
) -> Granted:
    """Return a new access token.

    Args:
        sign_in: for whom and for what.
        refresh_token: the owner's; None for a service account.
        settings: our registration.
        post: sends a form to a URL and returns the tokens, or raises.

    Raises:
        OperatorMustAct: our registration is incomplete or refused.
        ScopesMissing: the owner did not agree to our reading mail.
        SyncError: as classifier.py says.
    """
    url = token_url(settings, Issuer.GOOGLE)
    request = _Request(lambda form: post(url, form, sign_in.grant))
    if refresh_token is None:
        _service_account(sign_in, url, settings).refresh(request)  # type: ignore[no-untyped-call]  # google-auth has none
    else:
        _user(refresh_token, url, settings).refresh(request)  # type: ignore[no-untyped-call]  # the same
    assert request.granted is not None, "a refresh without a request"
    scopes.check_scopes(sign_in.audience, request.granted.scopes)
    return request.granted


def _user(refresh_token: Secret, url: str, settings: OAuthSettings) -> credentials.Credentials:
    return credentials.Credentials(  # type: ignore[no-untyped-call]  # google-auth has none
        token=None,
        refresh_token=refresh_token.reveal(),
        token_uri=url,
        client_id=registration.client_id(settings, Issuer.GOOGLE),
        client_secret=registration.client_secret(settings, Issuer.GOOGLE).reveal(),
    )


def _service_account(
    sign_in: SignIn, url: str, settings: OAuthSettings
) -> service_account.Credentials:
    key = registration.service_account(settings)
    where = "oauth.google.service_account_file"
    try:
        info = json.loads(key.reveal())
        return service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call,no-any-return]  # google-auth has none
            {**info, "token_uri": url},
            scopes=[scopes.GOOGLE[sign_in.audience]],
            subject=sign_in.mailbox,
        )
    except (ValueError, TypeError, KeyError, exceptions.GoogleAuthError):
        raise OperatorMustAct(f"{where} holds no JSON key of a service account") from None


class _Request(transport.Request):
    """google-auth's way to HTTP; it keeps the answer, of which google-auth drops a part."""

    def __init__(self, post: Callable[[bytes], Granted]) -> None:
        self._post = post
        self.granted: Granted | None = None

    def __call__(
        self,
        url: str,  # noqa: ARG002 - known already
        method: str = "GET",  # noqa: ARG002 - always POST
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002 - ours suffice
        timeout: float | None = None,  # noqa: ARG002 - ours holds
        **_kwargs: Any,
    ) -> "_Response":
        assert body is not None
        self.granted = self._post(body)
        return _Response(self.granted)


class _Response(transport.Response):
    """A success as google-auth reads it."""

    def __init__(self, granted: Granted) -> None:
        self._fields = {
            "access_token": granted.access_token.reveal(),
            "expires_in": int(granted.lifetime.total_seconds()),
        }

    @property
    def status(self) -> int:
        return HTTPStatus.OK

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    @property
    def data(self) -> bytes:
        return json.dumps(self._fields).encode()
