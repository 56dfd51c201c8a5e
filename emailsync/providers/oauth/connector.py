"""Turns the code that a browser brought into credentials, and says whose mailbox they open.

One a daemon. Nothing is stored here, and no secret is told to anybody but its issuer.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio.to_thread

from emailsync.config import LiveSettings
from emailsync.crypto import Secret
from emailsync.domain.errors import AuthRefused, AuthUnproven, Misconfigured
from emailsync.ports import Clock
from emailsync.providers.gmail.opener import GMAIL_HOST
from emailsync.providers.gmail.refusals import gmail_refusal
from emailsync.providers.gmail.values import address_of
from emailsync.providers.graph.addressing import PUBLIC_API
from emailsync.providers.graph.owner import addresses_in
from emailsync.providers.graph.refusals import refusal as graph_refusal
from emailsync.providers.http_client import HttpClient
from emailsync.providers.http_failures import failure_of_answer
from emailsync.providers.http_messages import Answer, ApiRequest
from emailsync.providers.oauth.audiences import Audience
from emailsync.providers.oauth.classifier import Grant, Issuer
from emailsync.providers.oauth.consent import Consent
from emailsync.providers.oauth.issuers import token_url
from emailsync.providers.oauth.scopes import ScopesMissing, check_scopes
from emailsync.providers.oauth.sign_in import ISSUERS
from emailsync.providers.oauth.token_endpoint import TokenEndpoint, token_endpoints
from emailsync.providers.oauth.token_set import Granted, TokenSet

MAX_PROFILE_BYTES: Final = 256 * 1024
DEADLINE_S: Final = 10.0  #: for a profile
PROFILES: Final = {
    Issuer.GOOGLE: "/gmail/v1/users/me/profile",
    Issuer.MICROSOFT: "/v1.0/me?$select=mail,userPrincipalName,proxyAddresses",
}
INBOX: Final = "/v1.0/me/mailFolders/inbox?$select=id"
REFUSALS: Final = {Issuer.GOOGLE: gmail_refusal, Issuer.MICROSOFT: graph_refusal}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """Credentials, and the mailbox that they open."""

    credentials: Mapping[str, Secret]
    addresses: Sequence[str]  #: of the mailbox, its main one first


class NoMailbox(AuthRefused):
    """Whoever agreed has no mailbox at this provider."""


@asynccontextmanager
async def connector(settings: LiveSettings, clock: Clock) -> AsyncIterator["Connector"]:
    """Yield what redeems codes; its connections live as long as the context."""
    oauth = settings.current.oauth
    async with (
        token_endpoints(oauth) as endpoints,
        HttpClient(oauth.google.api_url or GMAIL_HOST) as gmail,
        HttpClient(oauth.microsoft.api_url or PUBLIC_API) as graph,
    ):
        apis = {Issuer.GOOGLE: gmail, Issuer.MICROSOFT: graph}
        yield Connector(settings, clock, endpoints, apis)


class Connector:
    """Redeems codes at both issuers."""

    def __init__(
        self,
        settings: LiveSettings,
        clock: Clock,
        endpoints: Mapping[Issuer, TokenEndpoint],
        apis: Mapping[Issuer, HttpClient],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._endpoints = endpoints
        self._apis = apis

    async def redeem(self, consent: Consent, code: Secret) -> Connected:
        """Return what a code is worth: credentials as an account stores them, and whose they are.

        Raises:
            ScopesMissing: the owner did not agree to our reading mail.
            NoMailbox: whoever agreed has none.
            AuthRefused: the code is not good, or brought nothing that lasts.
            OperatorMustAct: our client is incomplete or refused.
            SyncError: as classifier.py and the API's table say.
        """
        oauth, now = self._settings.current.oauth, self._clock.now()
        form = await anyio.to_thread.run_sync(consent.code_form, oauth, code)
        granted = first = await self._ask(consent.issuer, form)
        if first.refresh_token is None:
            raise AuthRefused(f"{consent.issuer.title} gave no refresh token")
        if consent.audience is Audience.OUTLOOK_IMAP:
            form = await anyio.to_thread.run_sync(consent.refresh_form, oauth, first.refresh_token)
            granted = await self._ask(consent.issuer, form)
        check_scopes(consent.audience, granted.scopes)
        tokens = TokenSet().after(granted, now, used=first.refresh_token, refused=False)
        addresses = await self._addresses(consent.audience, first.access_token)
        if not addresses:
            raise NoMailbox("whoever signed in has no mailbox")
        return Connected(credentials=tokens.write({}), addresses=addresses)

    async def _ask(self, issuer: Issuer, form: bytes) -> Granted:
        url = token_url(self._settings.current.oauth, issuer)
        return await self._endpoints[issuer].ask(url, form, Grant.USER)

    async def _addresses(self, audience: Audience, token: Secret) -> Sequence[str]:
        """Ask the API whose mailbox the token opens, and whether there is one."""
        issuer = ISSUERS[audience]
        profile = (await self._look(issuer, PROFILES[issuer], token)).json()
        if issuer is Issuer.GOOGLE:
            return [address_of(profile)]
        if audience is Audience.GRAPH:  # its users may be without a mailbox
            await self._look(issuer, INBOX, token)
        return list(dict.fromkeys(addresses_in(profile)))

    async def _look(self, issuer: Issuer, path: str, token: Secret) -> Answer:
        api = self._apis[issuer]
        answer = await api.send(
            ApiRequest("GET", path),
            bearer=token,
            max_bytes=MAX_PROFILE_BYTES,
            deadline_s=DEADLINE_S,
        )
        failure = failure_of_answer(answer, api.host)
        if failure is None:
            return answer
        failure = REFUSALS[issuer](answer) or failure
        match failure:
            case AuthRefused() | AuthUnproven():  # of a token that is a second old
                raise ScopesMissing(f"the token does not open the mailbox: {failure}")
            case Misconfigured():
                raise NoMailbox(str(failure))
        raise failure
