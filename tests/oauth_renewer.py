"""One daemon's part in renewing one account's tokens: a process of its own, for tests.

Reads one line of JSON (see `Order`), renews by so many tasks until the issuer has given out enough,
or refused it, and writes one line of JSON: how many were refused, by the class of the error.
"""

import json
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import anyio
import httpx

from emailsync.config import LiveSettings, Settings
from emailsync.domain.accounts import AccountId, AccountKey, ProviderType, TenantId
from emailsync.domain.errors import SyncError
from emailsync.ports import Account
from emailsync.providers.oauth.audiences import Audience
from emailsync.providers.oauth.tokens import OAuthTokens, oauth_tokens
from emailsync.store.credential_vault import PostgresCredentialVault
from emailsync.store.database import open_database
from emailsync.store.sealing import open_credentials
from oauth_rig import oauth_settings
from store_rig import KEYS

ADDRESS = "ann@example.test"


@dataclass(frozen=True)
class Order:
    """What the process is to do."""

    database_url: str
    issuers_url: str
    secrets: str  #: folder of our secrets' files
    tenant_id: str
    account_id: str
    tasks: int
    renewals: int  #: of all processes together


class HurriedClock:
    """Time that passes an hour at once, so that every token has just expired."""

    def __init__(self) -> None:
        self.passed = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.passed

    def monotonic(self) -> float:
        return self.passed.total_seconds()


class Daemon:
    """The tasks of one process."""

    def __init__(
        self, order: Order, clock: HurriedClock, tokens: OAuthTokens, account: Account
    ) -> None:
        self.order = order
        self.clock = clock
        self.tokens = tokens
        self.account = account  #: with the credentials of the start: older and older
        self.refused: Counter[str] = Counter()

    async def renew_again_and_again(self, http: httpx.AsyncClient) -> None:
        while True:
            granted = (await http.get("/_control/tokens")).json()["granted"].get(ADDRESS, 0)
            if granted >= self.order.renewals:
                return
            try:
                await self.tokens.of(self.account, Audience.GRAPH).current()
            except SyncError as error:
                self.refused[type(error).__name__] += 1
                return
            self.clock.passed += timedelta(hours=1)


async def main() -> None:
    order = Order(**json.loads(sys.stdin.readline()))
    settings = LiveSettings(Settings(oauth=oauth_settings(order.issuers_url, Path(order.secrets))))
    key = AccountKey(TenantId(order.tenant_id), AccountId(UUID(order.account_id)))
    async with open_database(order.database_url, pool_max=4) as database:
        vault = PostgresCredentialVault(database, KEYS)
        async with database.connection() as connection:
            sealed = await connection.fetchval(
                "SELECT credentials FROM provider_configs WHERE id = $1", key.account_id
            )
        account = Account(
            key=key,
            provider_type=ProviderType.MICROSOFT,
            email_address=ADDRESS,
            settings={},
            credentials=open_credentials(KEYS, key, sealed),
        )
        clock = HurriedClock()
        async with (
            oauth_tokens(settings, vault, clock) as tokens,
            httpx.AsyncClient(base_url=order.issuers_url, trust_env=False) as http,
        ):
            daemon = Daemon(order, clock, tokens, account)
            async with anyio.create_task_group() as group:
                for _ in range(order.tasks):
                    group.start_soon(daemon.renew_again_and_again, http)
    sys.stdout.write(json.dumps(daemon.refused) + "\n")


if __name__ == "__main__":
    anyio.run(main, backend_options={"use_uvloop": True})
