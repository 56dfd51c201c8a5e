"""The `LeaseStore` on Postgres: claims, due times and circuits, by the database's clock.

Decides nothing: what becomes of an account comes with the run record, of a circuit from the domain.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any, Final

from asyncpg import Record

from emailsync.config import LiveSettings
from emailsync.domain.accounts import AccountId, AccountKey, Lease, ProviderType, TenantId
from emailsync.domain.circuit import Circuit, CircuitState, after_failure, after_success
from emailsync.domain.errors import LeaseLost
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import Priority, QueueName, priorities_of
from emailsync.domain.runs import Outcome, RunRecord, RunResult
from emailsync.ports import ClaimRequest, EndpointVerdict
from emailsync.store.database import Connection, Database
from emailsync.store.intervals import interval_columns
from emailsync.store.queries import load_queries
from emailsync.store.text import pg_line

SQL: Final = load_queries("leases")

SUCCEEDED: Final = frozenset({RunResult.DONE, RunResult.SLICED})
ANSWERED: Final = SUCCEEDED | {RunResult.THROTTLED, RunResult.NEEDS_RECONNECT}
"""The endpoint was there and spoke to us, whatever it said to the account."""

WRITTEN_WITHIN_S: Final = 1.0  #: a page that is being written; a larger one is not waited for


class PostgresLeaseStore:
    """The leases of one daemon among all that share the database."""

    def __init__(self, database: Database, settings: LiveSettings, instance_id: str) -> None:
        self._database = database
        self._settings = settings
        self._instance_id = instance_id

    async def reprioritise(self) -> int:
        """Recompute priorities from the tenants and pull due times forward; return rows changed."""
        columns = interval_columns(self._settings.current)
        async with self._database.connection() as connection:
            status = await connection.execute(SQL["reprioritise"], *columns, None)
        return int(status.rpartition(" ")[2])

    async def claim(self, request: ClaimRequest) -> Sequence[SyncJob]:
        """Lease up to `limit` accounts, fairly between tenants. Skips what others hold."""
        values: list[Any] = [request.limit, self._instance_id, self._lease_s]
        if request.requested:
            name = "claim_requested"
        elif request.only is None:
            name = "claim_due"
            values = [list(priorities_of(request.queue)), *values, request.tenant_share]
        else:
            name = "claim_named"
            accounts = [key.account_id for key in request.only]
            tenants = [key.tenant_id for key in request.only]
            values = [list(priorities_of(request.queue)), *values, accounts, tenants]
        async with self._database.connection() as connection:
            return [_job(row) for row in await connection.fetch(SQL[name], *values)]

    async def next_due(self, queue: QueueName) -> datetime | None:
        """Return when an account of `queue` may be claimed next, as far as is known now."""
        async with self._database.connection() as connection:
            moment: datetime | None = await connection.fetchval(
                SQL["next_due"], list(priorities_of(queue))
            )
        return moment

    async def extend(self, leases: Collection[Lease]) -> Collection[Lease]:
        """Prolong the leases; return those that are lost."""
        values = *_lease_columns(leases), self._instance_id, self._lease_s
        async with self._database.connection() as connection:
            rows = await connection.fetch(SQL["extend"], *values)
            return [
                lease
                for row in rows
                if not await self._extend_written(
                    connection, lease := Lease(_key(row), row["epoch"]), is_lost=row["is_lost"]
                )
            ]

    async def _extend_written(self, connection: Connection, lease: Lease, *, is_lost: bool) -> bool:
        """Prolong a lease that a page is being written under; return whether it is ours."""
        if is_lost:
            return False
        values = lease.key.tenant_id, lease.key.account_id, lease.epoch
        us = self._instance_id, self._lease_s
        try:
            found = await connection.fetchval(
                SQL["extend_written"], *values, *us, timeout=WRITTEN_WITHIN_S
            )
        except TimeoutError:
            return True  # as long as the page locks the row nobody else can claim it
        return found is not None

    async def release(self, leases: Collection[Lease]) -> None:
        """Give the accounts back unchanged; what is lost already is ignored."""
        async with self._database.connection() as connection:
            await connection.execute(SQL["release"], *_lease_columns(leases), self._instance_id)

    async def finish(self, job: SyncJob, record: RunRecord) -> None:
        """Store the outcome, the circuits and the run in one transaction, and release the lease.

        Raises:
            LeaseLost: the epoch moved on, or this was stored already; nothing was written.
        """

        async def work(connection: Connection) -> None:
            key = job.key
            held = await connection.fetchrow(
                SQL["hold_finishing"], key.tenant_id, key.account_id, job.epoch, self._instance_id
            )
            if held is None:
                raise LeaseLost("the account was claimed by somebody else, changed or removed")
            await self._finish_account(connection, job, record, held)
            await self._record_run(connection, job, record)
            await self._finish_endpoint(connection, job, record.outcome, held)

        await self._database.transact(work)

    async def admit(self, job: SyncJob) -> EndpointVerdict:
        """Ask the endpoint's circuit; when its time has come, exactly one caller gets the probe."""
        where = (job.provider_type, job.endpoint)
        patience_s = self._settings.current.circuit_breaker.timeout.total_seconds()
        async with self._database.connection() as connection:
            if job.requested:
                await connection.execute(
                    SQL["answer_request"], job.key.tenant_id, job.key.account_id, job.epoch
                )
            if await connection.fetchval(SQL["endpoint"], *where) is None:
                return EndpointVerdict(allowed=True)
            if await connection.fetchval(SQL["take_probe"], *where, patience_s):
                return EndpointVerdict(allowed=True)
            retry_at: datetime | None = await connection.fetchval(SQL["endpoint"], *where)
        return EndpointVerdict(allowed=retry_at is None, retry_at=retry_at)

    async def heartbeat(self, instance_id: str, *, ttl: timedelta) -> int:
        """Announce this daemon; return how many daemons are alive, at least 1."""
        async with self._database.connection() as connection:
            await connection.execute(SQL["heartbeat"], instance_id, version("emailsync"))
            return int(await connection.fetchval(SQL["count_instances"], ttl.total_seconds()))

    async def resign(self, instance_id: str) -> None:
        """Take the announcement back: this daemon is no longer alive."""
        async with self._database.connection() as connection:
            await connection.execute(SQL["resign"], instance_id)

    @property
    def _lease_s(self) -> int:
        return self._settings.current.cluster.lease_s

    def _after(self, circuit: Circuit, now: datetime) -> Circuit:
        breaker = self._settings.current.circuit_breaker
        return after_failure(circuit, now, threshold=breaker.threshold, timeout=breaker.timeout)

    async def _finish_account(
        self, connection: Connection, job: SyncJob, record: RunRecord, held: Record
    ) -> None:
        outcome = record.outcome
        circuit = Circuit(CircuitState(held["state"]), held["failures"], held["retry_at"])
        if outcome.counts_on_account:
            circuit = self._after(circuit, held["now"])
        elif outcome.result in SUCCEEDED:
            circuit = after_success(circuit)
        await connection.execute(
            SQL["finish_account"],
            job.key.tenant_id,
            job.key.account_id,
            outcome.result,
            _wait_s(record),
            outcome.attempt,
            outcome.auth_refusals,
            pg_line(outcome.error),
            outcome.error_class,
            circuit.state,
            circuit.failures,
            circuit.retry_at,
            record.quota_units,
        )

    async def _finish_endpoint(
        self, connection: Connection, job: SyncJob, outcome: Outcome, held: Record
    ) -> None:
        """Touch the row that all accounts of the endpoint share only when it changes."""
        is_clean = not (held["endpoint_failures"] or held["endpoint_retry_at"])
        if not outcome.counts_on_endpoint and (is_clean or outcome.result not in ANSWERED):
            return
        where = (job.provider_type, job.endpoint)
        row = await connection.fetchrow(SQL["hold_endpoint"], *where)
        assert row is not None
        circuit = Circuit(CircuitState(row["state"]), row["failures"], row["retry_at"])
        if outcome.counts_on_endpoint:
            circuit = self._after(circuit, held["now"])
        else:
            circuit = after_success(circuit)
        await connection.execute(
            SQL["save_endpoint"], *where, circuit.state, circuit.failures, circuit.retry_at
        )

    async def _record_run(self, connection: Connection, job: SyncJob, record: RunRecord) -> None:
        outcome, counts = record.outcome, record.counts
        await connection.execute(
            SQL["record_run"],
            job.key.tenant_id,
            job.key.account_id,
            job.queue,
            self._instance_id,
            record.attempt,
            outcome.result,
            outcome.error_class,
            pg_line(outcome.error),
            record.started_at,
            record.duration // timedelta(milliseconds=1),
            counts.created,
            counts.updated,
            counts.deleted,
            counts.quarantined,
            counts.unexplained,
            counts.fetched_bytes,
        )


def _wait_s(record: RunRecord) -> float | None:
    """Return the span from the run's end to the next one: our clock is not the database's."""
    if record.outcome.next_sync_at is None:
        return None
    ended_at = record.started_at + record.duration
    return (record.outcome.next_sync_at - ended_at).total_seconds()


def _job(row: Record) -> SyncJob:
    return SyncJob(
        key=_key(row),
        provider_type=ProviderType(row["provider_type"]),
        endpoint=row["endpoint"],
        priority=Priority(row["sync_priority"]),
        weight=row["weight"],
        epoch=row["lease_epoch"],
        attempt=row["attempt"],
        crashes=row["crash_count"],
        auth_refusals=row["auth_refusals"],
        due_at=row["due_at"],
        last_synced_at=row["last_synced_at"],
        requested=row["requested"],
    )


def _key(row: Record) -> AccountKey:
    return AccountKey(TenantId(row["tenant_id"]), AccountId(row["id"]))


def _lease_columns(leases: Collection[Lease]) -> tuple[list[str], list[AccountId], list[int]]:
    return (
        [lease.key.tenant_id for lease in leases],
        [lease.key.account_id for lease in leases],
        [lease.epoch for lease in leases],
    )
