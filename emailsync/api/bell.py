"""Wakes whoever waits for a change: of one tenant, or of any."""

import anyio

from emailsync.domain.accounts import TenantId


class Bell:
    """Rung at each change, by whoever hears of it."""

    def __init__(self) -> None:
        self._next: dict[TenantId | None, anyio.Event] = {}

    def ring(self, tenant_id: TenantId | None) -> None:
        """Tell of a change of a tenant; with None of changes of nobody knows whom."""
        heard = tuple(self._next) if tenant_id is None else (tenant_id, None)
        for waiting in heard:
            if event := self._next.pop(waiting, None):
                event.set()

    def next(self, tenant_id: TenantId | None) -> anyio.Event:
        """Return what is set by the next change of the tenant, or with None of anybody.

        Ask for it before looking, or a change in between is missed.
        """
        return self._next.setdefault(tenant_id, anyio.Event())
