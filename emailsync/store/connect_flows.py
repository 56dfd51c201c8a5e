"""Mailboxes that are being connected in a browser: remembered until it comes back, to any daemon.

A state is stored by its hash, and what belongs to it is sealed, so the table alone lets nobody
finish a flow. Each is good once and for `LIFE`.
"""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import orjson
from asyncpg import Record

from emailsync.crypto import DecryptionFailed, KeyRing, token_hash
from emailsync.domain.accounts import AccountId, AccountKey, TenantId
from emailsync.store.database import Connection, Database
from emailsync.store.queries import load_queries
from emailsync.store.tenants import make_tenant

SQL: Final = load_queries("connect_flows")
COLUMN: Final = "connect_flow"  #: which the ciphertext is bound to
LIFE: Final = timedelta(minutes=10)  #: for signing in, and for fetching the second factor
MOST_OPEN: Final = 20  #: of one tenant: more are a program that has gone wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectFlow:
    """What the answer will be held against; all but the names of the row is sealed."""

    tenant_id: TenantId
    id: UUID
    issuer: str
    verifier: str = field(repr=False)  #: PKCE's
    audience: str
    return_to: str | None
    email_address: str | None  #: the mailbox that is meant; None: whichever it is
    provider_id: str | None  #: the account that is connected again; None: that of the mailbox
    directory: str | None  #: Microsoft's, whose administrator is asked; None: an owner is
    browser_sha256: str | None  #: of a cookie's value, hexadecimal; None: any browser


class ConnectFlows:
    """The flows of all tenants. Raises StoreUnavailable."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys

    async def begin(self, flow: ConnectFlow, *, state: str, token_sha256: bytes) -> datetime | None:
        """Remember a flow, and its tenant when that is new; return when it is over.

        Args:
            flow: a new one.
            state: what the browser will bring back.
            token_sha256: of the bearer token that asked. Once it is removed, so is the flow.

        Returns:
            None when the tenant has `MOST_OPEN` open ones.

        Raises:
            Misconfigured: the tenant is being erased.
        """
        sealed = self._keys.encrypt(_packed(flow), _key(flow.tenant_id, flow.id), COLUMN)

        async def work(connection: Connection) -> datetime | None:
            await make_tenant(connection, flow.tenant_id)
            over: datetime | None = await connection.fetchval(
                SQL["begin"],
                flow.tenant_id,
                flow.id,
                token_hash(state.encode()),
                token_sha256,
                sealed,
                LIFE.total_seconds(),
                MOST_OPEN,
            )
            return over

        return await self._database.transact(work)

    async def take(self, state: str) -> tuple[ConnectFlow, bool] | None:
        """Return the flow of a state, this once, and whether it is still open; None: there is none.

        One that was sealed under a key that is gone counts as none.
        """

        async def work(connection: Connection) -> Record | None:
            return await connection.fetchrow(SQL["take"], token_hash(state.encode()))

        row = await self._database.persist(work)
        if row is None:
            return None
        tenant_id = TenantId(row["tenant_id"])
        try:
            packed = self._keys.decrypt(row["sealed"], _key(tenant_id, row["id"]), COLUMN)
        except DecryptionFailed:
            return None
        flow = ConnectFlow(tenant_id=tenant_id, id=row["id"], **orjson.loads(packed))
        return flow, row["is_open"]


def _key(tenant_id: TenantId, flow_id: UUID) -> AccountKey:
    return AccountKey(tenant_id, AccountId(flow_id))


def _packed(flow: ConnectFlow) -> bytes:
    fields = asdict(flow)
    return orjson.dumps({name: fields[name] for name in fields if name not in {"tenant_id", "id"}})
