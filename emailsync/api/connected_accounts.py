"""Which account a connected mailbox becomes: a new one, or the one that it has been all along.

What is stored of an account that is connected again stays, with its ids and cursors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from emailsync.config import OAuthSettings
from emailsync.crypto import Secret
from emailsync.domain.accounts import AccountId, ProviderType
from emailsync.domain.errors import Misconfigured
from emailsync.providers.gmail.addresses import comparable
from emailsync.store.accounts import AccountFilter, AccountInfo, AccountStore, NewAccount
from emailsync.store.connect_flows import ConnectFlow

SIGN_IN: Final = frozenset({"auth", "permission"})  #: settings that say on whose behalf


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """A mailbox that was opened just now, and what opened it."""

    addresses: Sequence[str]  #: its main one first
    credentials: Mapping[str, Secret]
    sign_in: Mapping[str, Any] = field(default_factory=dict)  #: settings; empty: its owner agreed

    def is_at(self, address: str) -> bool:
        """Tell whether it has this address."""
        return comparable(address) in map(comparable, self.addresses)


@dataclass(frozen=True, slots=True)
class Stored:
    """What has become of it."""

    account_id: UUID
    is_new: bool


class ConnectedAccounts:
    """Stores connected mailboxes. Raises StoreUnavailable."""

    def __init__(self, accounts: AccountStore, oauth: OAuthSettings) -> None:
        self._accounts = accounts
        self._oauth = oauth

    async def meant(self, flow: ConnectFlow) -> AccountInfo | None:
        """Return the account that the flow names; None: it names none, or it is gone."""
        if flow.provider_id is None:
            return None
        return await self._accounts.get(AccountId(UUID(flow.provider_id)), flow.tenant_id)

    async def store(self, flow: ConnectFlow, mailbox: Mailbox) -> Stored | None:
        """Make an account of the mailbox, or give the one there is its new credentials.

        Returns:
            None when the account that is meant is gone.

        Raises:
            Misconfigured: the tenant is being erased.
        """
        if flow.provider_id is not None:
            known = await self.meant(flow)
            return None if known is None else await self._replace(known, mailbox)
        if known := await self._with_one_of(flow, mailbox.addresses):
            return await self._replace(known, mailbox)
        try:
            return Stored(await self._add(flow, mailbox), is_new=True)
        except Misconfigured:  # unless the tenant is being erased, somebody else was faster
            known = await self._with_one_of(flow, mailbox.addresses)
            if known is None:
                raise
            return await self._replace(known, mailbox)

    async def _replace(self, known: AccountInfo, mailbox: Mailbox) -> Stored | None:
        settings = {name: value for name, value in known.settings.items() if name not in SIGN_IN}
        is_there = await self._accounts.change(
            known,
            settings={**settings, **mailbox.sign_in},
            credentials=mailbox.credentials,
            is_active=known.is_active,
            api_url=self._oauth.api_url(known.provider_type),
        )
        return Stored(known.key.account_id, is_new=False) if is_there else None

    async def _add(self, flow: ConnectFlow, mailbox: Mailbox) -> UUID:
        kind = ProviderType(flow.issuer)
        key = await self._accounts.add(
            NewAccount(
                tenant_id=flow.tenant_id,
                provider_type=kind,
                email_address=flow.email_address or mailbox.addresses[0],
                settings=mailbox.sign_in,
                credentials=mailbox.credentials,
                api_url=self._oauth.api_url(kind),
            )
        )
        return key.account_id

    async def _with_one_of(self, flow: ConnectFlow, addresses: Sequence[str]) -> AccountInfo | None:
        for address in dict.fromkeys(filter(None, (flow.email_address, *addresses))):
            wanted = AccountFilter(
                tenant_id=flow.tenant_id,
                provider_type=ProviderType(flow.issuer),
                email_address=address,
            )
            if found := await self._accounts.page(wanted):
                return found[0]
        return None
