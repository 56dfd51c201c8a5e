"""How an account comes to its tokens: by whom they are issued, on whose behalf, and for what.

Reads the account's settings; knows no secret.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from emailsync.domain.errors import Misconfigured
from emailsync.providers.oauth.audiences import Audience
from emailsync.providers.oauth.classifier import Grant, Issuer

ISSUERS: Final = {
    Audience.GMAIL: Issuer.GOOGLE,
    Audience.GOOGLE_IMAP: Issuer.GOOGLE,
    Audience.GRAPH: Issuer.MICROSOFT,
    Audience.OUTLOOK_IMAP: Issuer.MICROSOFT,
}
GRANTS: Final = {
    Issuer.GOOGLE: ("auth", {"user": Grant.USER, "service_account": Grant.APPLICATION}),
    Issuer.MICROSOFT: (
        "permission",
        {"delegated": Grant.USER, "application": Grant.APPLICATION},
    ),
}
TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", re.ASCII)
"""A directory id or a domain name: it becomes a part of the token endpoint's path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Everything that decides which token an account needs, but its secrets."""

    audience: Audience
    issuer: Issuer
    grant: Grant
    mailbox: str  #: its address
    tenant: str | None  #: Microsoft's directory; None: as the settings' authority says

    @classmethod
    def of(cls, mailbox: str, settings: Mapping[str, Any], audience: Audience) -> Self:
        """Return how the account of a mailbox signs in, by its settings.

        Raises:
            Misconfigured: its settings name no way that there is.
        """
        issuer = ISSUERS[audience]
        name, grants = GRANTS[issuer]
        chosen = settings.get(name)
        grant = Grant.USER if chosen is None else grants.get(chosen)
        if grant is None:
            raise Misconfigured(f"the account's setting {name}: should be {' or '.join(grants)}")
        tenant = settings.get("tenant")
        if tenant is not None and not (isinstance(tenant, str) and TENANT.fullmatch(tenant)):
            raise Misconfigured("the account's setting tenant: should be a directory id")
        if issuer is Issuer.MICROSOFT and grant is Grant.APPLICATION and tenant is None:
            raise Misconfigured("the account's setting tenant: application permission needs it")
        return cls(
            audience=audience,
            issuer=issuer,
            grant=grant,
            mailbox=mailbox,
            tenant=tenant,
        )
