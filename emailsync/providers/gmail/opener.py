"""Opens Gmail sessions: from an account to its API client, its quota and its share of the wire."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio

from emailsync.config import LiveSettings
from emailsync.domain.quota_use import QuotaLevel
from emailsync.ports import Account, StoredMail
from emailsync.providers.account_client import AccountClient, TokenSource
from emailsync.providers.gmail.addresses import comparable
from emailsync.providers.gmail.api import GmailApi
from emailsync.providers.gmail.fetching import MessageFetcher
from emailsync.providers.gmail.prices import PRICES
from emailsync.providers.gmail.refusals import gmail_refusal
from emailsync.providers.gmail.session import GmailSession
from emailsync.providers.http_client import HttpClient
from emailsync.providers.mailbox_owners import MailboxOwners
from emailsync.providers.quota import AccountQuota, ProviderQuota

GMAIL_HOST: Final = "https://gmail.googleapis.com"


class GmailOpener:
    """The `SessionOpener` of Gmail; one a daemon."""

    def __init__(
        self,
        settings: LiveSettings,
        http: HttpClient,
        quota: ProviderQuota,
        tokens: Callable[[Account], TokenSource],
    ) -> None:
        """Make an opener.

        Args:
            settings: asked each time for the prices and the largest message.
            http: to the API, open.
            quota: shared by all accounts.
            tokens: gives an account's tokens for the Gmail API.
        """
        self._settings = settings
        self._http = http
        self._quota = quota
        self._tokens = tokens
        self._owners = MailboxOwners(comparable)
        self._large_lane = anyio.Semaphore(1)

    @asynccontextmanager
    async def open(self, account: Account, stored: StoredMail) -> AsyncIterator[GmailSession]:
        """Open a session; see SessionOpener. Gmail is asked whose a token is that is new here."""
        tokens = self._tokens(account)
        claimed = self._api(tokens, self._quota.claimed(account))
        await self._owners.prove(account, claimed.addresses)
        api = self._api(tokens, self._quota.of(account))
        limit = self._settings.current.store.max_message_bytes
        fetcher = MessageFetcher(api, limit, self._large_lane)
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            try:
                yield GmailSession.over(api, account, stored, fetcher=fetcher, group=group)
            except Exception as error:  # noqa: BLE001 - carried past the group, which would wrap it
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def test(self, account: Account) -> None:
        """Ask whose mailbox it is; see SessionOpener."""
        claimed = self._api(self._tokens(account), self._quota.claimed(account))
        self._owners.compare(account, await claimed.addresses())

    def quota_levels(self) -> Sequence[QuotaLevel]:
        """Return how much of the quotas is used; see SessionOpener."""
        return self._quota.levels()

    def _api(self, tokens: TokenSource, quota: AccountQuota) -> GmailApi:
        client = AccountClient(self._http, tokens, quota, gmail_refusal)
        return GmailApi(client, PRICES[self._settings.current.limits.google.prices])
