"""Opens sessions of Microsoft Graph: from an account's settings to its mailbox's root."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal

import anyio

from emailsync.config import LiveSettings
from emailsync.domain.quota_use import QuotaLevel
from emailsync.ports import Account, StoredMail
from emailsync.providers.account_client import AccountClient, TokenSource
from emailsync.providers.graph.addressing import (
    DELEGATED_ROOT,
    PUBLIC_API,
    LinkCutter,
    target,
    user_root,
)
from emailsync.providers.graph.client import GraphClient
from emailsync.providers.graph.contents import ContentFetcher
from emailsync.providers.graph.owner import addresses_of
from emailsync.providers.graph.refusals import refusal
from emailsync.providers.graph.session import GraphSession
from emailsync.providers.http_client import HttpClient
from emailsync.providers.mailbox_owners import MailboxOwners
from emailsync.providers.quota import ProviderQuota
from emailsync.providers.stored_settings import StoredSettings


class GraphAccountSettings(StoredSettings):
    """What a session needs of `provider_configs.settings` of a Microsoft account."""

    permission: Literal["delegated", "application"] = "delegated"


class GraphOpener:
    """The `SessionOpener` of Microsoft accounts; one a daemon."""

    def __init__(
        self,
        settings: LiveSettings,
        http: HttpClient,
        tokens: Callable[[Account], TokenSource],
        quota: ProviderQuota,
    ) -> None:
        self._settings = settings
        self._http = http
        self._tokens = tokens
        self._quota = quota
        self._owners = MailboxOwners()
        self._large_lane = anyio.Semaphore(1)

    @asynccontextmanager
    async def open(self, account: Account, stored: StoredMail) -> AsyncIterator[GraphSession]:
        """Open a session; see SessionOpener. Graph is asked whose a token is that is new here."""
        client = self._client(account)
        await self._owners.prove(account, partial(addresses_of, client))
        store = self._settings.current.store
        contents = ContentFetcher(
            client, store.raw, store.max_message_bytes, large_lane=self._large_lane
        )
        yield GraphSession(
            client, stored, contents, cursor=account.cursor, settles=account.has_detached
        )

    async def test(self, account: Account) -> None:
        """Ask whose mailbox it is and look for its inbox; see SessionOpener."""
        client = self._client(account)
        if client.root == DELEGATED_ROOT:
            self._owners.compare(account, await addresses_of(client))
        await client.get(target(f"{client.root}/mailFolders/inbox", {"$select": "id"}))

    def quota_levels(self) -> Sequence[QuotaLevel]:
        """Return how much of the quotas is used; see SessionOpener."""
        return self._quota.levels()

    def _client(self, account: Account) -> GraphClient:
        settings = GraphAccountSettings.read(account.settings)
        is_delegated = settings.permission == "delegated"
        return GraphClient(
            AccountClient(self._http, self._tokens(account), self._quota.of(account), refusal),
            LinkCutter(self._settings.current.oauth.microsoft.api_url or PUBLIC_API),
            DELEGATED_ROOT if is_delegated else user_root(account.email_address),
        )
