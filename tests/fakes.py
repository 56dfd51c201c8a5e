"""Small real implementations of the ports, for tests of what stands above them."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import anyio

from emailsync.domain.accounts import AccountKey, Lease
from emailsync.domain.errors import StoreUnavailable
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import QueueName
from emailsync.domain.runs import RunRecord
from emailsync.ports import ClaimRequest, Clock, EndpointVerdict
from emailsync.simulation.lease_store import MemoryLeaseStore


class FallibleLeaseStore(MemoryLeaseStore):
    """The lease store in memory, which can be away, hang or be slow, and remembers its calls."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.available = True  #: False: every call fails
        self.answering = anyio.Event()  #: unset: every call hangs
        self.answering.set()
        self.claim_takes_s = 0.0  #: between leasing and answering
        self.claims: list[ClaimRequest] = []
        self.reprioritised = 0
        self.records: defaultdict[AccountKey, list[RunRecord]] = defaultdict(list)

    async def reprioritise(self) -> int:
        await self._answer()
        self.reprioritised += 1
        return await super().reprioritise()

    async def claim(self, request: ClaimRequest) -> Sequence[SyncJob]:
        await self._answer()
        self.claims.append(request)
        jobs = await super().claim(request)
        await anyio.sleep(self.claim_takes_s)
        return jobs

    async def next_due(self, queue: QueueName) -> datetime | None:
        await self._answer()
        return await super().next_due(queue)

    async def extend(self, leases: Collection[Lease]) -> Collection[Lease]:
        await self._answer()
        return await super().extend(leases)

    async def release(self, leases: Collection[Lease]) -> None:
        await self._answer()
        await super().release(leases)

    async def finish(self, job: SyncJob, record: RunRecord) -> None:
        await self._answer()
        await super().finish(job, record)
        self.records[job.key].append(record)

    async def admit(self, job: SyncJob) -> EndpointVerdict:
        await self._answer()
        return await super().admit(job)

    async def heartbeat(self, instance_id: str, *, ttl: timedelta) -> int:
        await self._answer()
        return await super().heartbeat(instance_id, ttl=ttl)

    async def resign(self, instance_id: str) -> None:
        await self._answer()
        await super().resign(instance_id)

    async def _answer(self) -> None:
        await self.answering.wait()
        if not self.available:
            raise StoreUnavailable("the database is away")
