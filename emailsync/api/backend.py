"""What the API reads and changes: stores, and how logins are tried and granted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from emailsync.domain.accounts import ProviderType
from emailsync.ports import SessionOpener
from emailsync.providers.imap.discovery import ImapServers
from emailsync.providers.oauth.connector import Connector
from emailsync.store.accounts import AccountStore
from emailsync.store.connect_flows import ConnectFlows
from emailsync.store.erasure import Erasure
from emailsync.store.feed import ChangeFeed
from emailsync.store.mail_reader import MailReader
from emailsync.store.monitor import Monitor
from emailsync.store.tenants import TenantStore
from emailsync.store.tokens import TokenStore


@dataclass(frozen=True, slots=True)
class Backend:
    """Everything behind the API, once the database is there."""

    accounts: AccountStore
    tenants: TenantStore
    mail: MailReader
    feed: ChangeFeed
    erasure: Erasure
    tokens: TokenStore
    monitor: Monitor
    flows: ConnectFlows
    connector: Connector
    servers: ImapServers
    openers: Mapping[ProviderType, SessionOpener]


Reach: TypeAlias = Callable[[], Backend]
"""Returns the backend; raises StoreUnavailable while the database has not been there yet."""
