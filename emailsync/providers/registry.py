"""Which provider types this daemon speaks, and how a session of each is opened."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing

from emailsync.config import LiveSettings
from emailsync.domain.accounts import ProviderType
from emailsync.ports import Clock, CredentialVault, SessionOpener
from emailsync.providers.imap.opener import ImapOpener
from emailsync.providers.network import HostResolver, NetworkPolicy, tls_context
from emailsync.providers.oauth.tokens import oauth_tokens


@asynccontextmanager
async def session_openers(
    settings: LiveSettings, vault: CredentialVault, clock: Clock
) -> AsyncIterator[Mapping[ProviderType, SessionOpener]]:
    """Yield the opener of each provider type; what they share lives as long as the context."""
    imap = settings.current.imap
    policy = NetworkPolicy(
        allowed_ports=imap.allowed_ports, allow_private_hosts=imap.allow_private_hosts
    )
    with closing(HostResolver(policy)) as resolver:
        async with oauth_tokens(settings, vault, clock) as tokens:
            yield {
                ProviderType.IMAP: ImapOpener(settings, resolver, tls_context(imap.ca_file), tokens)
            }
