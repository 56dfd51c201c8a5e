"""Which provider types this daemon speaks, and how a session of each is opened."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    closing,
)
from functools import partial
from typing import Final

import anyio.to_thread

from emailsync.config import LiveSettings
from emailsync.domain.accounts import ProviderType
from emailsync.ports import Clock, CredentialVault, SessionOpener
from emailsync.providers.http_client import HttpClient
from emailsync.providers.imap.opener import ImapOpener
from emailsync.providers.network import HostResolver, NetworkPolicy, tls_context
from emailsync.providers.oauth.audiences import Audience
from emailsync.providers.oauth.tokens import OAuthTokens, oauth_tokens

_Opening = Callable[[LiveSettings, OAuthTokens], AbstractAsyncContextManager[SessionOpener]]


@asynccontextmanager
async def session_openers(
    settings: LiveSettings,
    vault: CredentialVault,
    clock: Clock,
    kinds: Collection[ProviderType] = tuple(ProviderType),
) -> AsyncIterator[Mapping[ProviderType, SessionOpener]]:
    """Yield the opener of each provider type; what they share lives as long as the context.

    Args:
        settings: limits are read anew each time they count; where the providers are, once.
        vault: the accounts' credentials.
        clock: what tokens and quotas go by.
        kinds: no other is asked for, so a command need not load the clients of all providers.
    """
    async with AsyncExitStack() as stack:
        tokens = await stack.enter_async_context(oauth_tokens(settings, vault, clock))
        yield {
            kind: await stack.enter_async_context(_OPENINGS[kind](settings, tokens))
            for kind in kinds
        }


@asynccontextmanager
async def _imap(settings: LiveSettings, tokens: OAuthTokens) -> AsyncIterator[SessionOpener]:
    imap = settings.current.imap
    policy = NetworkPolicy(
        allowed_ports=imap.allowed_ports, allow_private_hosts=imap.allow_private_hosts
    )
    # Not on the loop: reading the system's authorities would hold it up.
    tls = await anyio.to_thread.run_sync(tls_context, imap.ca_file)
    with closing(HostResolver(policy)) as resolver:
        yield ImapOpener(settings, resolver, tls, tokens)


def _google(settings: LiveSettings, tokens: OAuthTokens) -> tuple[HttpClient, SessionOpener]:
    from emailsync.providers.gmail.opener import GMAIL_HOST, GmailOpener
    from emailsync.providers.quota import google_quota

    http = HttpClient(settings.current.oauth.google.api_url or GMAIL_HOST)
    return http, GmailOpener(
        settings, http, google_quota(settings), lambda one: tokens.of(one, Audience.GMAIL)
    )


def _microsoft(settings: LiveSettings, tokens: OAuthTokens) -> tuple[HttpClient, SessionOpener]:
    from emailsync.providers.graph.addressing import PUBLIC_API
    from emailsync.providers.graph.opener import GraphOpener
    from emailsync.providers.quota import microsoft_quota

    http = HttpClient(settings.current.oauth.microsoft.api_url or PUBLIC_API)
    return http, GraphOpener(
        settings, http, lambda one: tokens.of(one, Audience.GRAPH), microsoft_quota(settings)
    )


@asynccontextmanager
async def _over_http(
    make: Callable[[LiveSettings, OAuthTokens], tuple[HttpClient, SessionOpener]],
    settings: LiveSettings,
    tokens: OAuthTokens,
) -> AsyncIterator[SessionOpener]:
    # Not on the loop: loading the client and reading the authorities would hold it up.
    http, opener = await anyio.to_thread.run_sync(make, settings, tokens)
    async with http:
        yield opener


_OPENINGS: Final[Mapping[ProviderType, _Opening]] = {
    ProviderType.IMAP: _imap,
    ProviderType.GOOGLE: partial(_over_http, _google),
    ProviderType.MICROSOFT: partial(_over_http, _microsoft),
}
