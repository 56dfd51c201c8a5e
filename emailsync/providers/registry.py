"""Which provider types this daemon speaks, and how a session of each is opened."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing

import anyio.to_thread

from emailsync.config import LiveSettings
from emailsync.domain.accounts import ProviderType
from emailsync.ports import Clock, CredentialVault, SessionOpener
from emailsync.providers.gmail.opener import GMAIL_HOST, GmailOpener
from emailsync.providers.graph.addressing import PUBLIC_API
from emailsync.providers.graph.opener import GraphOpener
from emailsync.providers.http_client import HttpClient, system_tls
from emailsync.providers.imap.opener import ImapOpener
from emailsync.providers.network import HostResolver, NetworkPolicy, tls_context
from emailsync.providers.oauth.audiences import Audience
from emailsync.providers.oauth.tokens import OAuthTokens, oauth_tokens
from emailsync.providers.quota import google_quota, microsoft_quota


@asynccontextmanager
async def session_openers(
    settings: LiveSettings, vault: CredentialVault, clock: Clock
) -> AsyncIterator[Mapping[ProviderType, SessionOpener]]:
    """Yield the opener of each provider type; what they share lives as long as the context."""
    imap = settings.current.imap
    policy = NetworkPolicy(
        allowed_ports=imap.allowed_ports, allow_private_hosts=imap.allow_private_hosts
    )
    # Not on the loop: each reading of the system's authorities would hold it up.
    imap_tls = await anyio.to_thread.run_sync(tls_context, imap.ca_file)
    await anyio.to_thread.run_sync(system_tls)
    with closing(HostResolver(policy)) as resolver:
        async with (
            oauth_tokens(settings, vault, clock) as tokens,
            _gmail(settings, tokens) as gmail,
            _graph(settings, tokens) as graph,
        ):
            yield {
                ProviderType.IMAP: ImapOpener(settings, resolver, imap_tls, tokens),
                ProviderType.GOOGLE: gmail,
                ProviderType.MICROSOFT: graph,
            }


@asynccontextmanager
async def _gmail(settings: LiveSettings, tokens: OAuthTokens) -> AsyncIterator[GmailOpener]:
    base_url = settings.current.oauth.google.api_url or GMAIL_HOST
    async with HttpClient(base_url) as http:
        yield GmailOpener(
            settings, http, google_quota(settings), lambda one: tokens.of(one, Audience.GMAIL)
        )


@asynccontextmanager
async def _graph(settings: LiveSettings, tokens: OAuthTokens) -> AsyncIterator[GraphOpener]:
    base_url = settings.current.oauth.microsoft.api_url or PUBLIC_API
    async with HttpClient(base_url) as http:
        yield GraphOpener(
            settings, http, lambda one: tokens.of(one, Audience.GRAPH), microsoft_quota(settings)
        )
