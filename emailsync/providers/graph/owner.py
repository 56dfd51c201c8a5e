"""Whose mailbox a user's token opens, in Graph's words (learn.microsoft.com/graph/api/user-get)."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import structlog

from emailsync.domain.errors import AuthRefused, AuthUnproven, ServerRefused
from emailsync.providers.graph.addressing import target
from emailsync.providers.graph.client import GraphClient
from emailsync.providers.graph.items import select, text

log = structlog.get_logger(__name__)

NAMES: Final = ("userPrincipalName", "mail", "proxyAddresses")


async def addresses_of(client: GraphClient) -> Collection[str] | None:
    """Return all addresses of the mailbox; None: its owner did not let us ask (`User.Read`).

    Raises:
        SyncError: as GraphClient.get; a refusal of the mail itself is left to who asks for mail.
    """
    try:
        answer = await client.get(target(client.root, {"$select": select(NAMES)}))
    except (AuthRefused, AuthUnproven) as error:
        log.info("provider.owner_not_told", reason=error.message)
        return None
    found = set(addresses_in(answer.json()))
    if not found:
        raise ServerRefused("Microsoft Graph answered without the addresses of the mailbox")
    return found


def addresses_in(user: Mapping[str, Any]) -> Iterator[str]:
    """Yield the addresses of a user as Graph describes them, that of the mailbox first."""
    yield from filter(None, (text(user.get(name)) for name in ("mail", "userPrincipalName")))
    proxies = user.get("proxyAddresses")
    for proxy in proxies if isinstance(proxies, list) else ():
        kind, _, address = (text(proxy) or "").partition(":")  # "SMTP:" of the main one
        if kind.casefold() == "smtp" and address:
            yield address
