"""Small real implementations of the ports, for tests of what stands above them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import anyio

from emailsync.domain.accounts import AccountKey, Lease
from emailsync.domain.circuit import Circuit, after_failure, after_success, may_try, probing
from emailsync.domain.errors import LeaseLost, StoreUnavailable
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import QueueName
from emailsync.domain.runs import RunRecord, RunResult
from emailsync.ports import ClaimRequest, Clock, EndpointVerdict

SUCCEEDED = frozenset({RunResult.DONE, RunResult.SLICED})


@dataclass
class LeasedAccount:
    """A row of the fake store; `job` is what a claim would return now."""

    job: SyncJob
    next_sync_at: datetime | None
    lease_until: datetime | None = None
    records: list[RunRecord] = field(default_factory=list)


class MemoryLeaseStore:
    """An `emailsync.ports.LeaseStore` in memory."""

    def __init__(self, clock: Clock, *, lease: timedelta = timedelta(seconds=60)) -> None:
        self.accounts: dict[AccountKey, LeasedAccount] = {}
        self.circuits: dict[str, Circuit] = {}
        self.timeout = timedelta(minutes=5)
        self.threshold = 5
        self.available = True  #: False: every call fails
        self.answering = anyio.Event()  #: unset: every call hangs
        self.answering.set()
        self.claim_takes_s = 0.0  #: between leasing and answering
        self.claims: list[ClaimRequest] = []
        self.reprioritised = 0
        self.instances: dict[str, datetime] = {}  #: until when each daemon counts as alive
        self._clock = clock
        self._lease = lease

    def add(self, job: SyncJob) -> None:
        """Store an account that becomes due at `job.due_at`."""
        self.accounts[job.key] = LeasedAccount(job, job.due_at)

    def leased(self) -> set[AccountKey]:
        """Return the accounts that somebody holds."""
        return {key for key, account in self.accounts.items() if self._is_held(account)}

    def take_away(self, key: AccountKey) -> None:
        """Give the account's lease to somebody else."""
        account = self.accounts[key]
        account.job = replace(account.job, epoch=account.job.epoch + 1)
        account.lease_until = self._clock.now() + self._lease

    def fail_endpoint(self, endpoint: str) -> None:
        """Count a failure on the endpoint's circuit."""
        self.circuits[endpoint] = after_failure(
            self.circuits.get(endpoint, Circuit()),
            self._clock.now(),
            threshold=self.threshold,
            timeout=self.timeout,
        )

    async def reprioritise(self) -> int:
        await self._answer()
        self.reprioritised += 1
        return 0

    async def claim(self, request: ClaimRequest) -> Sequence[SyncJob]:
        await self._answer()
        self.claims.append(request)
        now = self._clock.now()
        due = [
            account
            for key, account in self.accounts.items()
            if account.next_sync_at is not None
            and account.job.queue is request.queue
            and not self._is_held(account)
            and (key in request.only if request.only is not None else self._is_due(account))
        ]
        due.sort(key=lambda account: account.next_sync_at or now)
        for account in due[: request.limit]:
            due_at = account.next_sync_at or now
            account.job = replace(account.job, epoch=account.job.epoch + 1, due_at=due_at)
            account.lease_until = now + self._lease
        await anyio.sleep(self.claim_takes_s)
        return [account.job for account in due[: request.limit]]

    async def next_due(self, queue: QueueName) -> datetime | None:
        await self._answer()
        return min(
            (
                account.next_sync_at
                for account in self.accounts.values()
                if account.next_sync_at is not None
                and account.job.queue is queue
                and not self._is_held(account)
            ),
            default=None,
        )

    async def extend(self, leases: Collection[Lease]) -> Collection[Lease]:
        await self._answer()
        lost = [lease for lease in leases if not self._holds(lease)]
        for lease in leases:
            if lease not in lost:
                self.accounts[lease.key].lease_until = self._clock.now() + self._lease
        return lost

    async def release(self, leases: Collection[Lease]) -> None:
        await self._answer()
        for lease in leases:
            if self._holds(lease):
                self.accounts[lease.key].lease_until = None

    async def finish(self, job: SyncJob, record: RunRecord) -> None:
        await self._answer()
        if not self._holds(job.lease):
            raise LeaseLost("claimed by somebody else")
        account, outcome, now = self.accounts[job.key], record.outcome, self._clock.now()
        synced = now if outcome.result is RunResult.DONE else account.job.last_synced_at
        account.job = replace(
            account.job,
            attempt=outcome.attempt,
            auth_refusals=outcome.auth_refusals,
            last_synced_at=synced,
        )
        account.next_sync_at = outcome.next_sync_at
        account.lease_until = None
        account.records.append(record)
        if outcome.counts_on_endpoint:
            self.fail_endpoint(job.endpoint)
        elif outcome.result in SUCCEEDED and job.endpoint in self.circuits:
            self.circuits[job.endpoint] = after_success(self.circuits[job.endpoint])

    async def admit(self, job: SyncJob) -> EndpointVerdict:
        await self._answer()
        circuit, now = self.circuits.get(job.endpoint, Circuit()), self._clock.now()
        if not may_try(circuit, now):
            return EndpointVerdict(allowed=False, retry_at=circuit.retry_at)
        if circuit.retry_at is not None:
            self.circuits[job.endpoint] = probing(circuit, now, timeout=self.timeout)
        return EndpointVerdict(allowed=True)

    async def heartbeat(self, instance_id: str, *, ttl: timedelta) -> int:
        await self._answer()
        now = self._clock.now()
        self.instances[instance_id] = now + ttl
        return sum(alive_until >= now for alive_until in self.instances.values())

    async def _answer(self) -> None:
        await self.answering.wait()
        if not self.available:
            raise StoreUnavailable("the database is away")

    def _is_due(self, account: LeasedAccount) -> bool:
        now, circuit = self._clock.now(), self.circuits.get(account.job.endpoint, Circuit())
        due_at = account.next_sync_at
        return due_at is not None and due_at <= now and may_try(circuit, now)

    def _is_held(self, account: LeasedAccount) -> bool:
        return account.lease_until is not None and account.lease_until > self._clock.now()

    def _holds(self, lease: Lease) -> bool:
        account = self.accounts.get(lease.key)
        return account is not None and account.job.epoch == lease.epoch and self._is_held(account)
