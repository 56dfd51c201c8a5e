"""Access tokens for accounts: used while they live, renewed in time, by one at a time.

A rotated refresh token is stored before the new access token is used. Whether a refusal ends an
account's connection is the classifier's word, and then only if the stored row has no other token.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import anyio
import anyio.from_thread
import anyio.to_thread
import structlog

from emailsync.config import LiveSettings, OAuthSettings
from emailsync.crypto import Secret
from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    OperatorMustAct,
    Throttled,
    Unreachable,
)
from emailsync.ports import Account, Clock, CredentialVault
from emailsync.providers.oauth.audiences import Audience
from emailsync.providers.oauth.classifier import Grant, Issuer
from emailsync.providers.oauth.sign_in import SignIn
from emailsync.providers.oauth.token_endpoint import DEADLINE_S, TokenEndpoint, token_endpoints
from emailsync.providers.oauth.token_memory import Renewal, TokenMemory
from emailsync.providers.oauth.token_set import Granted, TokenSet

THREADS: Final = 8  #: renewals of one issuer at once; a silent issuer does not hold up the other
ALARM_INTERVAL: Final = timedelta(minutes=1)
"""What is wrong with our registration is met by every account; the operator is told once."""
Exchange = Callable[[SignIn, Secret | None], Awaitable[Granted]]
Renew = Callable[[Renewal], Awaitable[Mapping[str, Secret]]]

log = structlog.get_logger(__name__)


@asynccontextmanager
async def oauth_tokens(
    settings: LiveSettings, vault: CredentialVault, clock: Clock, *, deadline_s: float = DEADLINE_S
) -> AsyncIterator["OAuthTokens"]:
    """Yield what gives out tokens; its connections live as long as the context.

    Args:
        settings: our registrations; where the issuers are holds for the whole context.
        vault: where rotated tokens are kept.
        clock: what tokens expire by.
        deadline_s: for one answer of a token endpoint.
    """
    async with token_endpoints(settings.current.oauth, deadline_s=deadline_s) as endpoints:
        yield OAuthTokens(settings, vault, clock, endpoints)


class OAuthTokens:
    """Gives each account the source of its tokens. One a daemon."""

    def __init__(
        self,
        settings: LiveSettings,
        vault: CredentialVault,
        clock: Clock,
        endpoints: Mapping[Issuer, TokenEndpoint],
    ) -> None:
        self._settings = settings
        self._vault = vault
        self._clock = clock
        self._endpoints = endpoints
        self._memory = TokenMemory()
        self._threads = {issuer: anyio.CapacityLimiter(THREADS) for issuer in Issuer}
        self._alarmed_at: dict[Issuer, datetime] = {}

    def of(self, account: Account, audience: Audience) -> "AccountTokens":
        """Return the account's tokens for one API.

        Raises:
            Misconfigured: its settings name no way to sign in.
        """
        sign_in = SignIn.of(account.email_address, account.settings, audience)
        renew: Renew
        if sign_in.grant is Grant.USER:
            held = TokenSet.read(account.credentials)
            renew = partial(self._vault.renew, account.key)
        else:
            shared = _shared_key(sign_in)
            held = TokenSet.read(self._memory.held(shared))
            renew = partial(self._memory.renew, shared)
        return AccountTokens(sign_in, held, renew, self._exchange, self._clock)

    async def _exchange(self, sign_in: SignIn, refresh_token: Secret | None) -> Granted:
        endpoint = self._endpoints[sign_in.issuer]

        def post(url: str, form: bytes, grant: Grant) -> Granted:
            return anyio.from_thread.run(endpoint.ask, url, form, grant)

        work = partial(_exchanged, sign_in, refresh_token, self._settings.current.oauth, post)
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._threads[sign_in.issuer])
        except OperatorMustAct as error:
            self._alarm(sign_in.issuer, error)
            raise

    def _alarm(self, issuer: Issuer, error: OperatorMustAct) -> None:
        now = self._clock.now()
        last = self._alarmed_at.get(issuer)
        if last is None or now - last >= ALARM_INTERVAL:
            self._alarmed_at[issuer] = now
            log.error("oauth.registration_refused", issuer=issuer.value, problem=error.message)


def _shared_key(sign_in: SignIn) -> tuple[Audience, str]:
    """Return for whom a token of ours serves: a mailbox at Google, a directory at Microsoft."""
    whose = sign_in.mailbox if sign_in.issuer is Issuer.GOOGLE else sign_in.tenant
    assert whose is not None, "application permission has a directory"
    return sign_in.audience, whose


def _exchanged(
    sign_in: SignIn,
    refresh_token: Secret | None,
    settings: OAuthSettings,
    post: Callable[[str, bytes, Grant], Granted],
) -> Granted:
    """Have the issuer's library ask for a token. In a thread, where its import is, too."""
    # Imported where they are needed: a daemon without such accounts starts half a second sooner.
    if sign_in.issuer is Issuer.GOOGLE:
        from emailsync.providers.oauth import google  # noqa: PLC0415 - see above

        return google.exchange(sign_in, refresh_token, settings, post)
    from emailsync.providers.oauth import microsoft  # noqa: PLC0415 - see above

    return microsoft.exchange(sign_in, refresh_token, settings, post)


class AccountTokens:
    """The tokens of one account during one session; several of its tasks may ask at once."""

    def __init__(
        self, sign_in: SignIn, held: TokenSet, renew: Renew, exchange: Exchange, clock: Clock
    ) -> None:
        self._sign_in = sign_in
        self._held = held
        self._renew = renew
        self._exchange = exchange
        self._clock = clock
        self._one_at_a_time = anyio.Lock()
        self._makes_do = False  #: a renewal failed: what is held is used to its end

    async def current(self) -> Secret:
        """Return a token that should serve; one that still lives if a new one cannot be had.

        Raises:
            AuthRefused, AuthUnproven, OperatorMustAct, Unreachable, Throttled: see errors.py.
        """
        async with self._one_at_a_time:
            now = self._clock.now()
            usable = self._held.is_usable(now)
            if not (self._held.is_fresh(now) or (usable and self._makes_do)):
                try:
                    await self._replace(rejected=None)
                except (Unreachable, Throttled, OperatorMustAct):
                    if not usable:
                        raise
                    self._makes_do = True
            return self._token()

    async def renewed(self, rejected: Secret) -> Secret:
        """Return another token than the one that the API refused. Raises as `current` does."""
        async with self._one_at_a_time:
            if self._held.access_token == rejected:
                await self._replace(rejected=rejected)
            return self._token()

    def _token(self) -> Secret:
        assert self._held.access_token is not None, "a renewal leaves one"
        return self._held.access_token

    async def _replace(self, *, rejected: Secret | None) -> None:
        """Renew what is stored, unless somebody else was faster."""

        async def renewal(stored: Mapping[str, Secret]) -> Mapping[str, Secret] | None:
            have, now = TokenSet.read(stored), self._clock.now()
            if have.access_token != rejected and have.is_fresh(now):
                return None
            if rejected is not None and have.was_refused_lately(now):
                raise AuthUnproven("the API refuses access tokens that were issued just now")
            used, granted = await self._granted(have)
            after = have.after(granted, now, used=used, refused=rejected is not None)
            return after.write(stored)

        self._held = TokenSet.read(await self._renew(renewal))

    async def _granted(self, have: TokenSet) -> tuple[Secret | None, Granted]:
        """Return a refresh token that served and what it brought.

        The one before it gets a try when it is refused: the issuer may never have made it good.
        """
        if self._sign_in.grant is Grant.APPLICATION:
            return None, await self._exchange(self._sign_in, None)
        current, previous = have.refresh_token, have.previous_refresh_token
        if current is None:
            raise AuthRefused("the account has no refresh token: its owner has to connect it")
        try:
            return current, await self._exchange(self._sign_in, current)
        except AuthRefused as refused:
            if previous is None:
                raise
            try:
                return previous, await self._exchange(self._sign_in, previous)
            except AuthRefused:
                raise refused from None
