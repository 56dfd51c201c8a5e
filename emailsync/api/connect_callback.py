"""`GET /providers/{issuer}/callback`: a browser comes back from an issuer with a mailbox to store.

Nobody shows a token here: the state, which is good once, is the proof. What the browser says beyond
it is believed only as far as the issuer itself confirms it.
"""

import hmac
from typing import Final, NoReturn
from uuid import uuid4

import anyio
import structlog
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from emailsync.api.backend import Reach
from emailsync.api.connect import COOKIE, consent_of
from emailsync.api.connect_models import TOLD, CallbackQuery, Failure
from emailsync.api.connected_accounts import ConnectedAccounts, Mailbox, Stored
from emailsync.api.endpoints import Access, Call, Endpoint, Nothing, Table
from emailsync.api.plain_page import MEDIA_TYPE, plain_page
from emailsync.api.return_to import address_of, is_allowed
from emailsync.config import LiveSettings
from emailsync.crypto import Secret, token_hash
from emailsync.domain.accounts import AccountId, AccountKey, ProviderType
from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    Misconfigured,
    OperatorMustAct,
    StoreUnavailable,
    SyncError,
)
from emailsync.ports import Account
from emailsync.providers.oauth.classifier import Issuer
from emailsync.providers.oauth.connector import NoMailbox
from emailsync.providers.oauth.consent import comes_from
from emailsync.providers.oauth.scopes import ScopesMissing
from emailsync.store.accounts import AccountInfo
from emailsync.store.connect_flows import ConnectFlow

SEE_OTHER: Final = 303
AT_ONCE: Final = 4  #: browsers that are served; the rest of the API goes on beside them
WAITING: Final = 50  #: others; more are somebody's guesses
WITHIN_S: Final = 40.0  #: a code is exchanged, perhaps twice, and a profile asked for
PASSING: Final = frozenset({"temporarily_unavailable", "server_error"})

log = structlog.get_logger(__name__)

CallbackCall = Call[Nothing, CallbackQuery, Nothing]


class NotConnected(Exception):
    """The flow ends here."""

    def __init__(self, failure: Failure, detail: str = "") -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail  #: for the operator's log: no secret, and never for the browser


class ConnectCallback:
    """The way back."""

    def __init__(self, reach: Reach, settings: LiveSettings) -> None:
        self._reach = reach
        self._settings = settings
        self._served = anyio.CapacityLimiter(AT_ONCE)

    @property
    def table(self) -> Table:
        """The entries."""
        summary = "Where the issuer sends the browser back to; not for programs"
        answers = dict.fromkeys((200, 400, 429), MEDIA_TYPE) | {SEE_OTHER: None}
        return tuple(
            Endpoint("GET", f"/providers/{issuer}/callback", Access.OPEN, summary, handler, answers)
            for issuer, handler in (("google", self.google), ("microsoft", self.microsoft))
        )

    async def google(self, call: CallbackCall) -> Response:
        """Come back from Google."""
        return await self._come_back(call, Issuer.GOOGLE)

    async def microsoft(self, call: CallbackCall) -> Response:
        """Come back from Microsoft."""
        return await self._come_back(call, Issuer.MICROSOFT)

    async def _come_back(self, call: CallbackCall, issuer: Issuer) -> Response:
        if call.request.method == "HEAD":  # whoever looks ahead must not use the state up
            raise HTTPException(405, headers={"Allow": "GET"})
        if self._served.statistics().tasks_waiting >= WAITING:
            return plain_page("Too many at once", "Load this page again in a minute.", 429)
        async with self._served:
            taken = await self._reach().flows.take(call.query.state)
            if taken is None:
                return _page(Failure.UNKNOWN_STATE)
            flow, is_open = taken
            facts = {"tenant_id": flow.tenant_id, "connect_id": str(flow.id), "issuer": flow.issuer}
            try:
                with anyio.fail_after(WITHIN_S):
                    outcome = await self._finish(call, flow, issuer, is_open=is_open)
            except NotConnected as error:
                reason, detail = error.failure, error.detail
            except TimeoutError:
                reason, detail = Failure.PROVIDER_UNAVAILABLE, "no answer in time"
            else:
                event = "account.connected" if outcome.is_new else "account.reconnected"
                log.info(event, account_id=str(outcome.account_id), **facts)
                return self._connected(flow, outcome)
            log.warning("account.connect_failed", reason=reason.value, detail=detail, **facts)
            return self._sent_back(flow, {"connect": "failed", "reason": reason.value}, reason)

    async def _finish(
        self, call: CallbackCall, flow: ConnectFlow, issuer: Issuer, *, is_open: bool
    ) -> Stored:
        """Store what was agreed to.

        Raises:
            NotConnected: nothing was stored.
        """
        self._check(call, flow, issuer, is_open=is_open)
        accounts = ConnectedAccounts(self._reach().accounts, self._settings.current.oauth)
        known = await accounts.meant(flow)
        if flow.provider_id is not None and known is None:
            raise NotConnected(Failure.ACCOUNT_GONE)
        try:
            if flow.directory is None:
                mailbox = await self._redeemed(call, flow)
            else:
                mailbox = await self._opened_by_us(call, flow, known)
            stored = await accounts.store(flow, mailbox)
        except StoreUnavailable:
            raise
        except SyncError as error:
            _give_up(error)
        if stored is None:
            raise NotConnected(Failure.ACCOUNT_GONE)
        return stored

    def _check(
        self, call: CallbackCall, flow: ConnectFlow, issuer: Issuer, *, is_open: bool
    ) -> None:
        """Refuse an answer that is late, is not this browser's, or not the issuer's."""
        told, settings = call.query, self._settings.current
        if settings.http.public_url is None:
            raise NotConnected(Failure.MISCONFIGURED, "http.public_url is missing in the settings")
        if not is_open:
            raise NotConnected(Failure.EXPIRED)
        if flow.browser_sha256 is not None:
            cookie = call.request.cookies.get(COOKIE.format(id=flow.id), "")
            if not hmac.compare_digest(token_hash(cookie.encode()).hex(), flow.browser_sha256):
                raise NotConnected(Failure.OTHER_BROWSER)
        if flow.issuer != issuer.value:
            raise NotConnected(Failure.MIXED_UP, "the state was given to the other issuer")
        if told.iss is not None and not comes_from(settings.oauth, issuer, told.iss):
            raise NotConnected(Failure.MIXED_UP, "iss names another issuer than was asked")
        if told.error == "access_denied":
            raise NotConnected(Failure.ACCESS_DENIED)
        if told.error in PASSING:
            raise NotConnected(Failure.PROVIDER_UNAVAILABLE, told.error)
        if told.error:
            raise NotConnected(Failure.PROVIDER_REFUSED, told.error[:100])

    async def _redeemed(self, call: CallbackCall, flow: ConnectFlow) -> Mailbox:
        """Exchange the code, and have the API say whose mailbox it is."""
        if not call.query.code:
            raise NotConnected(Failure.CODE_REFUSED, "there was no code")
        consent = consent_of(flow, self._settings.current)
        connected = await self._reach().connector.redeem(consent, Secret(call.query.code))
        mailbox = Mailbox(addresses=connected.addresses, credentials=connected.credentials)
        if flow.email_address is not None and not mailbox.is_at(flow.email_address):
            raise NotConnected(Failure.WRONG_MAILBOX)
        return mailbox

    async def _opened_by_us(
        self, call: CallbackCall, flow: ConnectFlow, known: AccountInfo | None
    ) -> Mailbox:
        """Open the mailbox as the application that a directory's administrator agreed to.

        What the browser says of the directory proves nothing: the one that was asked for is opened.
        """
        if call.query.admin_consent.lower() != "true":
            raise NotConnected(Failure.PROVIDER_REFUSED, "there was no admin_consent")
        assert flow.email_address is not None, "nothing begins without it"
        sign_in = {"permission": "application", "tenant": flow.directory}
        account = Account(
            key=AccountKey(flow.tenant_id, AccountId(uuid4())),
            provider_type=known.provider_type if known else ProviderType.MICROSOFT,
            email_address=flow.email_address,
            settings={**(known.settings if known else {}), **sign_in},
            credentials={},
        )
        await self._reach().openers[account.provider_type].test(account)
        return Mailbox(addresses=[flow.email_address], credentials={}, sign_in=sign_in)

    def _connected(self, flow: ConnectFlow, outcome: Stored) -> Response:
        done = "connected" if outcome.is_new else "reconnected"
        return self._sent_back(flow, {"connect": done, "provider_id": str(outcome.account_id)})

    def _sent_back(
        self, flow: ConnectFlow, told: dict[str, str], failure: Failure | None = None
    ) -> Response:
        """Send the browser on, or without a place to go tell it here."""
        http = self._settings.current.http
        if (
            flow.return_to is None
            or http.public_url is None
            or not is_allowed(flow.return_to, http)
        ):
            if failure is not None:
                return _page(failure)
            return plain_page("Connected", "The mailbox is connected. Close this page.", 200)
        told = {**told, "connect_id": str(flow.id)}
        return RedirectResponse(address_of(flow.return_to, http.public_url, told), SEE_OTHER)


def _page(failure: Failure) -> Response:
    return plain_page("Not connected", TOLD[failure], 400)


def _give_up(error: SyncError) -> NoReturn:
    """End the flow for what a provider answered."""
    match error:
        case ScopesMissing():
            failure = Failure.MISSING_SCOPE
        case NoMailbox():
            failure = Failure.NO_MAILBOX
        case AuthRefused() | AuthUnproven():
            failure = Failure.CODE_REFUSED
        case OperatorMustAct() | Misconfigured():
            failure = Failure.MISCONFIGURED
        case _:
            failure = Failure.PROVIDER_UNAVAILABLE
    raise NotConnected(failure, str(error)) from error
