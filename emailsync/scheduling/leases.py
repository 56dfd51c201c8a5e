"""LeaseKeeper: keeps the leases of this daemon's open jobs alive, and stops who lost theirs.

The store's fence makes a late write harmless; the keeper makes it rare, and frees the worker. It
trusts a lease no longer than it can be sure of: from when the claim or the extension was asked
for, never from when the answer came. When the store stays silent, jobs are stopped before
somebody else may start them.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import anyio
import anyio.abc
import structlog

from emailsync.config import LiveSettings
from emailsync.domain.accounts import Lease
from emailsync.domain.errors import StoreUnavailable
from emailsync.domain.jobs import SyncJob
from emailsync.ports import Clock, LeaseStore

MARGIN: Final = 1 / 6  #: share of a lease that is left to a job for stopping
RETRY_S: Final = 1.0  #: between heartbeats while the store is silent
RESIGN_WITHIN_S: Final = 1.0  #: an ending daemon does not wait longer for a silent store

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class HeldLease:
    """The lease of one open job."""

    job: SyncJob
    sure_until_s: float  #: monotonic
    running: bool = False
    lost: bool = False
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)  #: around the run


class LeaseKeeper:
    """The leases of the jobs that wait or run here.

    Args:
        store: where leases are.
        clock: for how long a lease can be trusted.
        settings: lease and heartbeat times; learns how many daemons are alive.
        instance_id: the name under which this daemon announces itself.
        drop: called with a job that lost its lease while it waited.
        instances_changed: awaited when another number of daemons is alive.
    """

    def __init__(
        self,
        *,
        store: LeaseStore,
        clock: Clock,
        settings: LiveSettings,
        instance_id: str,
        drop: Callable[[SyncJob], object],
        instances_changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._instance_id = instance_id
        self._drop = drop
        self._instances_changed = instances_changed
        self._held: dict[Lease, HeldLease] = {}

    def hold(self, jobs: Iterable[SyncJob], *, asked_s: float) -> None:
        """Keep the leases of jobs that were claimed; `asked_s` is when (monotonic)."""
        for job in jobs:
            self._held[job.lease] = HeldLease(job, asked_s + self._sure_s)

    def let_go(self, job: SyncJob) -> None:
        """Stop keeping the job's lease: it is finished or given back."""
        self._held.pop(job.lease, None)

    def holds(self, job: SyncJob) -> bool:
        """Return whether the job's lease can be trusted now."""
        held = self._held.get(job.lease)
        return held is not None and not held.lost

    @contextmanager
    def running(self, job: SyncJob) -> Iterator[HeldLease]:
        """Run the body until it ends, its lease is lost, or `cancel_running` is called.

        A cancelled body ends the context quietly; `scope` and `lost` tell why.
        """
        held = self._held.get(job.lease)
        if held is None:
            held = HeldLease(job, sure_until_s=0, lost=True)
            held.scope.cancel()
        held.running = True
        try:
            with held.scope:
                yield held
        finally:
            held.running = False

    def cancel_running(self) -> None:
        """Cut every running job short; their leases stay until they are finished."""
        for held in self._held.values():
            if held.running:
                held.scope.cancel()

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Announce this daemon and extend its leases, every heartbeat, until cancelled.

        At the end it resigns, so the others share the limits among fewer at once.
        """
        try:
            answered = await self._beat()
            task_status.started()
            await self._keep_beating(answered=answered)
        finally:
            await self._resign()

    async def _keep_beating(self, *, answered: bool) -> None:
        while True:
            await anyio.sleep(self._settings.current.cluster.heartbeat_s if answered else RETRY_S)
            before, answered = answered, await self._beat()
            if before != answered:
                log.warning("leases.heartbeat_failed" if before else "leases.heartbeat_recovered")

    async def _resign(self) -> None:
        try:
            with anyio.move_on_after(RESIGN_WITHIN_S, shield=True):
                await self._store.resign(self._instance_id)
        except StoreUnavailable as error:
            log.debug("instances.not_resigned", error=error.message)  # the others notice in time

    @property
    def _sure_s(self) -> float:
        return self._settings.current.cluster.lease_s * (1 - MARGIN)

    async def _beat(self) -> bool:
        """Return whether the store answered."""
        asked_s = self._clock.monotonic()
        self._lose(held for held in self._all() if held.sure_until_s <= asked_s)
        first_end_s = min(
            (held.sure_until_s for held in self._all()), default=asked_s + self._sure_s
        )
        try:
            with anyio.fail_after(first_end_s - asked_s):
                await self._extend(asked_s)
                await self._announce()
        except (StoreUnavailable, TimeoutError):
            now_s = self._clock.monotonic()
            self._lose(held for held in self._all() if held.sure_until_s <= now_s)
            return False
        return True

    async def _extend(self, asked_s: float) -> None:
        asked = {held.job.lease: held for held in self._all()}
        if not asked:
            return
        lost = frozenset(await self._store.extend(tuple(asked)))
        self._lose(held for lease, held in asked.items() if lease in lost)
        for lease in asked.keys() - lost:
            asked[lease].sure_until_s = asked_s + self._sure_s

    async def _announce(self) -> None:
        ttl = timedelta(seconds=self._settings.current.cluster.lease_s)
        instances = await self._store.heartbeat(self._instance_id, ttl=ttl)
        if instances != self._settings.instances:
            self._settings.instances = instances
            log.info("instances.changed", instances=instances)
            await self._instances_changed()

    def _all(self) -> Sequence[HeldLease]:
        return [held for held in self._held.values() if not held.lost]

    def _lose(self, leases: Iterable[HeldLease]) -> None:
        for held in tuple(leases):
            if held.job.lease not in self._held:
                continue  # finished while the store was asked
            held.lost = True
            log.warning(
                "lease.lost",
                tenant_id=held.job.key.tenant_id,
                account_id=str(held.job.key.account_id),
                running=held.running,
            )
            if held.running:
                held.scope.cancel()
            else:
                self._drop(held.job)
                self.let_go(held.job)
