"""An `emailsync.ports.LeaseStore` in memory: what Postgres decides about leases, without Postgres.

For simulations and tests, so nothing is stored of the runs. Priorities stay as they were added, and
of the circuits only those of endpoints are kept.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count

from emailsync.domain.accounts import AccountKey, Lease, TenantId
from emailsync.domain.circuit import Circuit, after_failure, after_success, may_try, probing
from emailsync.domain.errors import LeaseLost
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import QueueName
from emailsync.domain.runs import RunRecord, RunResult
from emailsync.ports import ClaimRequest, Clock, EndpointVerdict
from emailsync.simulation.claim_order import ClaimOrder, LeasedAccount

SUCCEEDED = frozenset({RunResult.DONE, RunResult.SLICED})


class MemoryLeaseStore:
    """The accounts of one imagined database.

    Args:
        clock: the time that leases and due times go by.
        lease: how long a claim or an extension is good for.
        threshold: failures in a row that open an endpoint's circuit.
        timeout: how long it stays open.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        lease: timedelta = timedelta(seconds=60),
        threshold: int = 5,
        timeout: timedelta = timedelta(minutes=5),
    ) -> None:
        self.accounts: dict[AccountKey, LeasedAccount] = {}
        self.circuits: dict[str, Circuit] = {}
        self.instances: dict[str, datetime] = {}  #: until when each daemon counts as alive
        self._clock = clock
        self._lease = lease
        self._threshold = threshold
        self._timeout = timeout
        self._leases: Counter[TenantId] = Counter()
        self._orders = {queue: ClaimOrder(self._leases) for queue in QueueName}
        self._lease_ends: list[tuple[datetime, int, LeasedAccount]] = []
        self._numbers = count()

    def add(self, job: SyncJob) -> None:
        """Store an account that becomes due at `job.due_at`."""
        account = self.accounts[job.key] = LeasedAccount(job, job.due_at)
        account.blocked_until = self.circuits.get(job.endpoint, Circuit()).retry_at
        self._orders[job.queue].account_changed(account, self._clock.now())

    def take_away(self, key: AccountKey, *, hold: timedelta | None = None) -> None:
        """Lease the account to somebody who is not simulated, for `hold` or the usual time."""
        self._take(self.accounts[key], hold or self._lease)

    def leased(self) -> set[AccountKey]:
        """Return the accounts that somebody holds."""
        return {key for key, account in self.accounts.items() if self._is_held(account)}

    def fail_endpoint(self, endpoint: str) -> None:
        """Count a failure on the endpoint's circuit."""
        circuit = self.circuits.get(endpoint, Circuit())
        now = self._clock.now()
        self._set_circuit(
            endpoint,
            after_failure(circuit, now, threshold=self._threshold, timeout=self._timeout),
        )

    async def reprioritise(self) -> int:
        """Change nothing: tenants stay what they are."""
        return 0

    async def claim(self, request: ClaimRequest) -> Sequence[SyncJob]:
        """Lease accounts in the order of `ClaimOrder`, or those that are named."""
        now = self._clock.now()
        self._end_leases(now)
        if request.requested:
            return []  # nobody asks for anything here
        if request.only is not None:
            return [self._take(account, self._lease) for account in self._named(request)]
        order, share = self._orders[request.queue], request.tenant_share
        claimed: list[SyncJob] = []
        while len(claimed) < request.limit:
            account = order.first(now, tenant_share=share)
            if account is None:
                break
            claimed.append(self._take(account, self._lease))
        return claimed

    async def next_due(self, queue: QueueName) -> datetime | None:
        """Return when somebody may be claimed next."""
        now = self._clock.now()
        self._end_leases(now)
        return self._orders[queue].next_at(now)

    async def extend(self, leases: Collection[Lease]) -> Collection[Lease]:
        """Prolong the leases; return those that are lost."""
        lost = [lease for lease in leases if not self._holds(lease)]
        until = self._clock.now() + self._lease
        for lease in leases:
            if lease not in lost:
                self._hold_until(self.accounts[lease.key], until)
        return lost

    async def release(self, leases: Collection[Lease]) -> None:
        """Give the accounts back unchanged; what is lost already is ignored."""
        for lease in leases:
            if self._holds(lease):
                self._let_go(self.accounts[lease.key])

    async def finish(self, job: SyncJob, record: RunRecord) -> None:
        """Take over the outcome and release the lease.

        Raises:
            LeaseLost: somebody else claimed the account.
        """
        if not self._holds(job.lease):
            raise LeaseLost("claimed by somebody else")
        account, outcome = self.accounts[job.key], record.outcome
        done = outcome.result is RunResult.DONE
        account.job = replace(
            account.job,
            attempt=outcome.attempt,
            auth_refusals=outcome.auth_refusals,
            last_synced_at=self._clock.now() if done else account.job.last_synced_at,
        )
        account.next_sync_at = outcome.next_sync_at
        self._let_go(account)
        if outcome.counts_on_endpoint:
            self.fail_endpoint(job.endpoint)
        elif outcome.result in SUCCEEDED and job.endpoint in self.circuits:
            self._set_circuit(job.endpoint, after_success(self.circuits[job.endpoint]))

    async def admit(self, job: SyncJob) -> EndpointVerdict:
        """Ask the endpoint's circuit; when its time has come, the first caller gets the probe."""
        circuit, now = self.circuits.get(job.endpoint, Circuit()), self._clock.now()
        if not may_try(circuit, now):
            return EndpointVerdict(allowed=False, retry_at=circuit.retry_at)
        if circuit.retry_at is not None:
            self._set_circuit(job.endpoint, probing(circuit, now, timeout=self._timeout))
        return EndpointVerdict(allowed=True)

    async def heartbeat(self, instance_id: str, *, ttl: timedelta) -> int:
        """Announce a daemon; return how many are alive."""
        now = self._clock.now()
        self.instances[instance_id] = now + ttl
        return sum(alive_until >= now for alive_until in self.instances.values())

    async def resign(self, instance_id: str) -> None:
        """Forget a daemon that has ended."""
        self.instances.pop(instance_id, None)

    def _named(self, request: ClaimRequest) -> Sequence[LeasedAccount]:
        """Return the accounts that are asked for by name: due or not, whatever their circuit."""
        named = [self.accounts[key] for key in request.only or () if key in self.accounts]
        free = [
            (account.next_sync_at, account)
            for account in named
            if account.job.queue is request.queue
            and account.next_sync_at is not None
            and not self._is_held(account)
        ]
        free.sort(key=lambda pair: pair[0])
        return [account for _, account in free[: request.limit]]

    def _take(self, account: LeasedAccount, lease: timedelta) -> SyncJob:
        job, now = account.job, self._clock.now()
        due_at = account.next_sync_at or now
        account.job = replace(job, epoch=job.epoch + 1, due_at=due_at)
        if account.lease_until is None:
            self._count_lease(job.key.tenant_id, 1)
        self._hold_until(account, now + lease)
        return account.job

    def _hold_until(self, account: LeasedAccount, until: datetime) -> None:
        account.lease_until = until
        heappush(self._lease_ends, (until, next(self._numbers), account))
        self._orders[account.job.queue].account_changed(account, self._clock.now())

    def _let_go(self, account: LeasedAccount) -> None:
        account.lease_until = None
        self._orders[account.job.queue].account_changed(account, self._clock.now())
        self._count_lease(account.job.key.tenant_id, -1)

    def _end_leases(self, now: datetime) -> None:
        while self._lease_ends and self._lease_ends[0][0] <= now:
            until, _, account = heappop(self._lease_ends)
            if account.lease_until == until:
                self._let_go(account)

    def _count_lease(self, tenant: TenantId, change: int) -> None:
        self._leases[tenant] += change
        for order in self._orders.values():
            order.tenant_changed(tenant, self._clock.now())

    def _set_circuit(self, endpoint: str, circuit: Circuit) -> None:
        before = self.circuits.get(endpoint, Circuit())
        self.circuits[endpoint] = circuit
        if circuit.retry_at == before.retry_at:
            return
        for account in self.accounts.values():
            if account.job.endpoint == endpoint:
                account.blocked_until = circuit.retry_at
                self._orders[account.job.queue].account_changed(account, self._clock.now())

    def _is_held(self, account: LeasedAccount) -> bool:
        return account.lease_until is not None and account.lease_until > self._clock.now()

    def _holds(self, lease: Lease) -> bool:
        account = self.accounts.get(lease.key)
        return account is not None and account.job.epoch == lease.epoch and self._is_held(account)
