"""`POST /providers/{issuer}/connect`: whoever has a token asks where to send a browser.

A flow belongs to the tenant and to the token that asked for it, and dies with either; one that a
token of the file asked for lives on for its ten minutes. The browser's session is the
application's, which compares `connect_id` when the browser is back; a browser that asks by itself
is bound by a cookie.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import anyio.to_thread
import structlog
from starlette.requests import Request
from starlette.responses import Response

from emailsync.api.auth import Gate
from emailsync.api.backend import Reach
from emailsync.api.connect_models import ConnectOrder, ConnectStarted, MicrosoftConnectOrder
from emailsync.api.dispatch import reply
from emailsync.api.endpoints import Access, Call, Content, Endpoint, Nothing, Table
from emailsync.api.problems import MEDIA_TYPE, Refused, not_found, wrong
from emailsync.api.return_to import is_allowed
from emailsync.config import LiveSettings, Settings
from emailsync.crypto import Secret, token_hash
from emailsync.domain.access import Grant, Scope
from emailsync.domain.accounts import AccountId, ProviderType
from emailsync.domain.errors import Misconfigured
from emailsync.providers.account_settings import API_AUDIENCES, audience_of
from emailsync.providers.oauth import classifier, registration
from emailsync.providers.oauth.audiences import Audience
from emailsync.providers.oauth.classifier import Issuer
from emailsync.providers.oauth.consent import Consent, admin_consent_url
from emailsync.providers.oauth.sign_in import ISSUERS
from emailsync.store.accounts import AccountInfo
from emailsync.store.connect_flows import LIFE, ConnectFlow

SECRET_BYTES: Final = 32  #: of state and verifier: RFC 7636 section 7.1 recommends as many
COOKIE: Final = "emailsync-connect-{id}"  #: one a flow, so that two tabs do not disturb each other
BUSY_FOR_S: Final = 60

log = structlog.get_logger(__name__)


class ConnectStart:
    """The way out."""

    def __init__(self, reach: Reach, settings: LiveSettings, gate: Gate) -> None:
        self._reach = reach
        self._settings = settings
        self._gate = gate

    @property
    def table(self) -> Table:
        """The entries."""
        summary = "Where to send a browser to connect a mailbox, or to connect it again"
        answers: Mapping[int, Content] = {200: ConnectStarted, 404: MEDIA_TYPE, 409: MEDIA_TYPE}
        return (
            Endpoint("POST", "/providers/google/connect", Access.TENANT, summary, self.google,
                     answers),
            Endpoint("POST", "/providers/microsoft/connect", Access.TENANT, summary, self.microsoft,
                     answers),
        )  # fmt: skip

    async def google(self, call: Call[Nothing, Nothing, ConnectOrder]) -> Response:
        """Begin at Google."""
        return await self._begin(call.request, call.grant, call.body, Issuer.GOOGLE)

    async def microsoft(self, call: Call[Nothing, Nothing, MicrosoftConnectOrder]) -> Response:
        """Begin at Microsoft, with the mailbox's owner or with a directory's administrator."""
        order = call.body
        if order.permission == "delegated":
            if order.directory is not None:
                raise wrong("body.directory", "is for the permission application")
            return await self._begin(call.request, call.grant, order, Issuer.MICROSOFT)
        if call.grant.scope is not Scope.ADMIN:
            raise Refused(
                403,
                "Ask an administrator: only an admin token lets our own registration open a "
                "mailbox.",
            )
        if order.directory is None or order.email_address is None:
            raise wrong("body.permission", "application needs directory and email_address")
        return await self._begin(
            call.request, call.grant, order, Issuer.MICROSOFT, directory=order.directory
        )

    async def _begin(
        self,
        request: Request,
        grant: Grant,
        order: ConnectOrder,
        issuer: Issuer,
        *,
        directory: str | None = None,
    ) -> Response:
        settings = self._settings.current
        _check(order, grant, settings)
        await anyio.to_thread.run_sync(_check_registration, settings, issuer)
        account = await self._account(order)
        audience = _audience(account, issuer)
        state, verifier = (secrets.token_urlsafe(SECRET_BYTES) for _ in range(2))
        browser = secrets.token_urlsafe(SECRET_BYTES) if order.bind_browser else None
        flow = ConnectFlow(
            tenant_id=order.tenant_id,
            id=uuid4(),
            issuer=issuer.value,
            verifier=verifier,
            audience=audience.value,
            return_to=order.return_to,
            email_address=account.email_address if account else order.email_address,
            provider_id=None if account is None else str(account.key.account_id),
            directory=directory,
            browser_sha256=None if browser is None else token_hash(browser.encode()).hex(),
        )
        over = await self._remember(flow, state, request)
        url = _url(flow, settings, Secret(state))
        response = reply(ConnectStarted(connect_id=flow.id, consent_url=url, expires_at=over))
        if browser is not None:
            _bind(response, flow, browser, redirect_uri(settings, issuer))
        return response

    async def _remember(self, flow: ConnectFlow, state: str, request: Request) -> datetime:
        """Store a flow of the token that asks; return when it is over."""
        shown = self._gate.shown_by(request)
        try:
            over = await self._reach().flows.begin(flow, state=state, token_sha256=shown)
        except Misconfigured as error:
            raise Refused(409, str(error)) from None
        if over is None:
            raise Refused(
                429,
                "This tenant has too many connections under way; finish some, or wait.",
                headers={"Retry-After": str(BUSY_FOR_S)},
            )
        log.info(
            "account.connect_started",
            tenant_id=flow.tenant_id,
            issuer=flow.issuer,
            connect_id=str(flow.id),
            account_id=flow.provider_id,
        )
        return over

    async def _account(self, order: ConnectOrder) -> AccountInfo | None:
        """Return the account that is to be connected again; None: none is named."""
        if order.provider_id is None:
            return None
        accounts = self._reach().accounts
        account = await accounts.get(AccountId(order.provider_id), order.tenant_id)
        if account is None:
            raise not_found()
        if (order.email_address or account.email_address).lower() != account.email_address.lower():
            raise wrong("body.email_address", "is not that of the account provider_id")
        return account


def redirect_uri(settings: Settings, issuer: Issuer) -> str:
    """Return where the issuer sends the browser back to: as configured, whatever host was asked."""
    assert settings.http.public_url is not None, "nothing begins without it"
    return f"{settings.http.public_url.rstrip('/')}/providers/{issuer.value}/callback"


def consent_of(flow: ConnectFlow, settings: Settings) -> Consent:
    """Return what the mailbox's owner is asked."""
    return Consent(
        audience=Audience(flow.audience),
        redirect_uri=redirect_uri(settings, Issuer(flow.issuer)),
        verifier=Secret(flow.verifier),
    )


def _url(flow: ConnectFlow, settings: Settings, state: Secret) -> str:
    if flow.directory is None:
        consent = consent_of(flow, settings)
        return consent.url(settings.oauth, state=state, login_hint=flow.email_address)
    return admin_consent_url(
        settings.oauth,
        flow.directory,
        redirect_uri=redirect_uri(settings, Issuer.MICROSOFT),
        state=state,
    )


def _bind(response: Response, flow: ConnectFlow, browser: str, callback: str) -> None:
    """Let only the browser that has this answer's cookie finish the flow."""
    parts = urlsplit(callback)
    response.set_cookie(
        COOKIE.format(id=flow.id),
        browser,
        max_age=int(LIFE.total_seconds()),
        path=parts.path,
        secure=parts.scheme == "https",
        httponly=True,
        samesite="lax",  # strict ones do not come along when the issuer sends it back
    )


def _check(order: ConnectOrder, grant: Grant, settings: Settings) -> None:
    if not grant.covers(order.tenant_id):
        raise Refused(403, "This token is another tenant's: it cannot add accounts to this one.")
    if order.return_to is not None and not is_allowed(order.return_to, settings.http):
        raise wrong(
            "body.return_to",
            "should be a plain path such as /settings/mail, or exactly one of the addresses that "
            "http.return_to_allowed has",
        )


def _check_registration(settings: Settings, issuer: Issuer) -> None:
    """Refuse what the settings do not allow. Reads files."""
    missing = list(registration.problems(settings.oauth, issuer, classifier.Grant.USER))
    if settings.http.public_url is None:
        missing.append("http.public_url is missing in the settings")
    if missing:
        raise Refused(409, f"The operator has to complete the settings: {'; '.join(missing)}.")


def _audience(account: AccountInfo | None, issuer: Issuer) -> Audience:
    """Return what the tokens will be for: an account, or the issuer's own API."""
    if account is None:
        return API_AUDIENCES[ProviderType(issuer.value)]
    audience = audience_of(account.provider_type, account.settings)
    if audience is None or ISSUERS[audience] is not issuer:
        raise wrong("body.provider_id", f"is not an account that {issuer.title}'s tokens open")
    return audience
