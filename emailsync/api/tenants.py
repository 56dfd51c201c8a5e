"""Tenants over HTTP: what their accounts' priority and share come from, and their erasure."""

from datetime import datetime
from typing import Annotated, Final, Literal

import anyio
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter
from starlette.background import BackgroundTask
from starlette.responses import Response

from emailsync.api.backend import Reach
from emailsync.api.dispatch import reply
from emailsync.api.endpoints import Access, Call, Endpoint, Nothing, Sent, Table
from emailsync.api.fields import NO_NUL, PageQuery, TenantPath, TenantText
from emailsync.api.paging import decode, page
from emailsync.api.problems import MEDIA_TYPE, Refused, not_found
from emailsync.api.provider_models import PRIORITY_NAMES
from emailsync.domain.errors import Misconfigured
from emailsync.store.tenants import TenantChange, TenantInfo

ERASED_WITHIN_S: Final = 10.0
KEY: Final = TypeAdapter(tuple[TenantText])
MAX_WEIGHT: Final = 1_000


class Tenant(BaseModel):
    """A tenant, and the priority that follows for its accounts."""

    id: str
    plan: str | None
    last_login_at: datetime | None
    weight: float
    priority: Literal["critical", "high", "normal", "low"]
    created_at: datetime


class TenantPage(BaseModel):
    """Tenants, by id."""

    items: list[Tenant]
    next_cursor: str | None


class TenantFields(Sent):
    """What is to become of a tenant; what is left out stays as it is."""

    plan: Annotated[str, Field(max_length=200, pattern=NO_NUL)] | None = None
    last_login_at: AwareDatetime | None = None
    weight: Annotated[float, Field(gt=0, le=MAX_WEIGHT, allow_inf_nan=False)] = 1.0


class Tenants:
    """The resource `/tenants`."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    @property
    def table(self) -> Table:
        """The entries."""
        return (
            Endpoint(
                "GET",
                "/tenants",
                Access.ADMIN,
                "All tenants",
                self.list,
                {200: TenantPage},
            ),
            Endpoint(
                "GET",
                "/tenants/{tenant_id}",
                Access.TENANT,
                "A tenant",
                self.show,
                {200: Tenant},
            ),
            Endpoint(
                "PUT",
                "/tenants/{tenant_id}",
                Access.ADMIN,
                "Change or make a tenant; the priority of its accounts follows at once",
                self.put,
                {200: Tenant, 201: Tenant, 409: MEDIA_TYPE},
            ),
            Endpoint(
                "DELETE",
                "/tenants/{tenant_id}",
                Access.ADMIN,
                "Erase every row of a tenant",
                self.erase,
                {204: None, 202: None},
            ),
        )

    async def list(self, call: Call[Nothing, PageQuery, Nothing]) -> Response:
        """Return a page of tenants."""
        asked = call.query
        after = "" if asked.cursor is None else decode(asked.cursor, KEY)[0]
        found = await self._reach().tenants.page(after=after, limit=asked.limit + 1)
        tenants, cursor = page(found, asked.limit, lambda tenant: (tenant.id,))
        return reply(TenantPage(items=[_shown(each) for each in tenants], next_cursor=cursor))

    async def show(self, call: Call[TenantPath, Nothing, Nothing]) -> Response:
        """Return a tenant."""
        tenant = await self._reach().tenants.get(call.path.tenant_id)
        if tenant is None:
            raise not_found()
        return reply(_shown(tenant))

    async def put(self, call: Call[TenantPath, Nothing, TenantFields]) -> Response:
        """Change a tenant, made if it is new."""
        change = TenantChange(
            fields=frozenset(call.body.model_fields_set),
            plan=call.body.plan,
            last_login_at=call.body.last_login_at,
            weight=call.body.weight,
        )
        try:
            tenant, is_new = await self._reach().tenants.put(call.path.tenant_id, change)
        except Misconfigured as error:
            raise Refused(409, str(error)) from None
        return reply(_shown(tenant), 201 if is_new else 200)

    async def erase(self, call: Call[TenantPath, Nothing, Nothing]) -> Response:
        """Erase a tenant: it is gone at once, its rows as soon as they are erased."""
        tenant_id, erasure = call.path.tenant_id, self._reach().erasure
        if not await erasure.mark_tenant(tenant_id):
            raise not_found()
        with anyio.move_on_after(ERASED_WITHIN_S):
            await erasure.erase_tenant(tenant_id)
            return Response(status_code=204)
        return Response(status_code=202, background=BackgroundTask(erasure.erase_tenant, tenant_id))


def _shown(tenant: TenantInfo) -> Tenant:
    return Tenant(
        id=tenant.id,
        plan=tenant.plan,
        last_login_at=tenant.last_login_at,
        weight=tenant.weight,
        priority=PRIORITY_NAMES[tenant.priority],
        created_at=tenant.created_at,
    )
