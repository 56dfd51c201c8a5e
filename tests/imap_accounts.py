"""Many IMAP accounts in one go: to start `account add` for each would take a second each."""

from collections.abc import Iterable

from dovecot_mailbox import DovecotMailbox
from emailsync.crypto import KeyRing, Secret
from emailsync.domain.accounts import ProviderType, TenantId
from emailsync.store.accounts import AccountStore, NewAccount
from emailsync.store.database import open_database
from installation import Installation


async def add_accounts(
    installation: Installation, mailboxes: Iterable[tuple[str, DovecotMailbox]]
) -> None:
    """Add mailboxes as accounts of tenants, untried; the database has its schema."""
    keys = KeyRing.load(installation.folder / "keys")
    async with open_database(installation.database_url, pool_max=2) as database:
        for tenant, mailbox in mailboxes:
            await AccountStore(database, keys).add(
                NewAccount(
                    tenant_id=TenantId(tenant),
                    provider_type=ProviderType.IMAP,
                    email_address=mailbox.user,
                    settings={
                        "host": mailbox.host,
                        "port": mailbox.port,
                        "security": "none",
                        "username": mailbox.user,
                    },
                    credentials={"password": Secret(mailbox.password)},
                )
            )
