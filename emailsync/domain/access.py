"""Who asks over HTTP and what for: the scope of a bearer token, and the tenant it is bound to."""

from dataclasses import dataclass
from enum import StrEnum

from emailsync.domain.accounts import TenantId


class Scope(StrEnum):
    """What a token opens."""

    ADMIN = "admin"  #: everything, of all tenants
    TENANT = "tenant"  #: the accounts, mail and changes of one tenant
    METRICS = "metrics"  #: the numbers under /health


@dataclass(frozen=True, slots=True)
class Grant:
    """What whoever asks may see.

    Raises:
        ValueError: a tenant's grant without its tenant, or another one with a tenant.
    """

    scope: Scope
    tenant_id: TenantId | None = None  #: of the scope TENANT, and of no other

    def __post_init__(self) -> None:
        if (self.scope is Scope.TENANT) != (self.tenant_id is not None):
            raise ValueError(f"a grant of {self.scope} for the tenant {self.tenant_id!r}")

    def covers(self, tenant_id: TenantId) -> bool:
        """Tell whether things of this tenant may be seen at all."""
        return self.scope is Scope.ADMIN or self.tenant_id == tenant_id
