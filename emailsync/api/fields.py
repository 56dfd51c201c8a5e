"""The kinds of values that several resources take or give: ids, texts, limits, cursors."""

from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from emailsync.api.endpoints import Sent
from emailsync.domain.accounts import TenantId

NO_NUL: Final = r"^[^\x00]*$"  #: which Postgres does not store
MAX_LIMIT: Final = 200
MAX_BIGINT: Final = 2**63 - 1

TenantText = Annotated[
    TenantId,
    Field(min_length=1, max_length=200, pattern=NO_NUL, description="Your own id of the tenant."),
]
Address = Annotated[str, Field(min_length=1, max_length=320, pattern=NO_NUL)]
Line = Annotated[str, Field(min_length=1, max_length=320, pattern=NO_NUL)]
RowId = Annotated[int, Field(ge=1, le=MAX_BIGINT)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many at most.")]
Cursor = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2_000,
        pattern=NO_NUL,
        description="`next_cursor` of the page before; opaque.",
    ),
]


class TenantPath(Sent):
    """A tenant's address."""

    tenant_id: TenantText


class ProviderPath(Sent):
    """An account's address."""

    provider_id: UUID


class PageQuery(Sent):
    """Which part of a list is asked for."""

    limit: Limit = 50
    cursor: Cursor | None = None
