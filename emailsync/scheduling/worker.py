"""SyncWorker: the consumers of the three queues, in one task group.

Each takes the next job that may run, asks the endpoint's circuit, runs the job, has the domain
decide about the end of it and stores that. What a sync does, and what an error means, is decided
elsewhere. Nothing that a job raises ends a consumer.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol

import anyio
import anyio.abc
import structlog

from emailsync.config import LiveSettings
from emailsync.domain.decisions import RetryPolicy, cancelled, decide, deferred
from emailsync.domain.errors import LeaseLost, StoreUnavailable, SyncError
from emailsync.domain.jobs import SyncJob
from emailsync.domain.priority import QueueName
from emailsync.domain.runs import Outcome, RunRecord, RunResult
from emailsync.metrics import NOT_FAILED, Metrics
from emailsync.ports import Clock, LeaseStore
from emailsync.scheduling.leases import LeaseKeeper
from emailsync.scheduling.limits import Permit
from emailsync.scheduling.queues import Failure, QueueService
from emailsync.sync.progress import Progress

FINISH_RETRY_S: Final = 1.0  #: between two tries to store an outcome

log = structlog.get_logger(__name__)


class RunJob(Protocol):
    """One run of one job."""

    async def __call__(self, job: SyncJob, progress: Progress) -> bool:
        """Bring the account up to date or as far as the quantum goes; return whether there is more.

        Raises:
            SyncError: what stopped it; `progress` tells what was done before.
        """


class SyncWorker:
    """The consumers. `finished` is called after each run, its outcome stored."""

    def __init__(
        self,
        *,
        run_job: RunJob,
        store: LeaseStore,
        keeper: LeaseKeeper,
        queues: QueueService,
        settings: LiveSettings,
        clock: Clock,
        metrics: Metrics,
        jitter: Callable[[], float],
        finished: Callable[[SyncJob, RunRecord], None],
    ) -> None:
        self._run_job = run_job
        self._store = store
        self._keeper = keeper
        self._queues = queues
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._jitter = jitter
        self._finished = finished
        self._group: anyio.abc.TaskGroup | None = None
        self._stopping = anyio.Event()
        self._consumers = dict.fromkeys(QueueName, 0)
        self._idle: dict[QueueName, set[anyio.CancelScope]] = {queue: set() for queue in QueueName}

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Consume until `stop` was called and the last job has ended."""
        async with anyio.create_task_group() as group:
            self._group = group
            self.resize()
            task_status.started()
            await self._stopping.wait()

    def stop(self) -> None:
        """Take no further job; running ones go on."""
        self._stopping.set()
        self._send_idle_home()

    def resize(self) -> None:
        """Bring the number of consumers to the settings; one that works leaves after its job."""
        assert self._group is not None, "resize a running worker"
        for queue in QueueName:
            while self._consumers[queue] < self._wanted(queue):
                self._consumers[queue] += 1
                self._group.start_soon(self._consume, queue, name=f"sync {queue}")
        self._send_idle_home()

    def _wanted(self, queue: QueueName) -> int:
        if self._stopping.is_set():
            return 0
        return self._settings.current.queues.of(queue).concurrency

    def _send_idle_home(self) -> None:
        for queue, idle in self._idle.items():
            surplus = self._consumers[queue] - self._wanted(queue)
            for scope in tuple(idle)[: max(0, surplus)]:
                scope.cancel()

    async def _consume(self, queue: QueueName) -> None:
        while self._consumers[queue] <= self._wanted(queue):
            permit = await self._next_permit(queue)
            if permit is None:
                continue
            try:
                await self._work(permit.job)
            finally:
                self._queues.done(permit)
        self._consumers[queue] -= 1

    async def _next_permit(self, queue: QueueName) -> Permit | None:
        """Wait for a job; None: there may be one consumer too many."""
        permit = None
        with anyio.CancelScope() as scope:
            self._idle[queue].add(scope)
            try:
                permit = await self._queues.next_runnable(queue)
            finally:
                self._idle[queue].discard(scope)
        return permit

    async def _work(self, job: SyncJob) -> None:
        with structlog.contextvars.bound_contextvars(
            tenant_id=job.key.tenant_id,
            account_id=str(job.key.account_id),
            job_id=f"{job.key.account_id}/{job.epoch}",
        ):
            started_at, progress = self._clock.now(), Progress.start(self._clock)
            self._metrics.job_started(job)
            outcome = await self._outcome_of(job, progress)
            record = RunRecord(
                started_at=started_at,
                duration=progress.elapsed(),
                attempt=job.attempt,
                outcome=outcome,
                counts=progress.counts,
                quota_units=progress.quota_use.units,
            )
            await self._store_outcome(job, record)
            self._keeper.let_go(job)
            self._report(job, record)

    async def _outcome_of(self, job: SyncJob, progress: Progress) -> Outcome:
        error: Exception | None = None
        more = False
        with self._keeper.running(job) as held:
            try:
                verdict = await self._store.admit(job)
                if not verdict.allowed:
                    now = self._clock.now()
                    return deferred(job, verdict.retry_at or now, now=now, jitter=self._jitter())
                more = await self._run_job(job, progress)
            except SyncError as raised:
                error = raised
                # In a circle with the frames it went through, pages would wait for the collector.
                error.__traceback__ = error.__cause__ = error.__context__ = None
            except Exception as raised:  # noqa: BLE001 - a job's failure is decided about, not passed on
                error = raised
        if held.lost:
            error = LeaseLost("somebody else may hold the account's lease now")
        elif held.scope.cancelled_caught or (held.scope.cancel_called and error is not None):
            return cancelled(job, now=self._clock.now())
        if error is not None and not isinstance(error, SyncError):
            log.error("sync.job_crashed", exc_info=error)
        return self._decide(error, job, more=more)

    def _decide(self, error: Exception | None, job: SyncJob, *, more: bool) -> Outcome:
        settings = self._settings.current
        queue = settings.queues.of(job.queue)
        return decide(
            error,
            job,
            now=self._clock.now(),
            more=more,
            policy=RetryPolicy(
                attempts=queue.attempts, base=timedelta(milliseconds=queue.backoff_ms)
            ),
            interval=settings.intervals.of(job.provider_type).of(job.priority),
            jitter=self._jitter(),
        )

    async def _store_outcome(self, job: SyncJob, record: RunRecord) -> None:
        """Store how the run ended; while the store is away, as long as the lease can be trusted."""
        while record.outcome.result is not RunResult.LEASE_LOST and self._keeper.holds(job):
            try:
                await self._store.finish(job, record)
            except StoreUnavailable:
                await anyio.sleep(FINISH_RETRY_S)
            except LeaseLost:
                break
            except Exception:
                log.exception("sync.outcome_not_stored")  # the lease runs out by itself
                break
            else:
                break

    def _report(self, job: SyncJob, record: RunRecord) -> None:
        outcome, counts, now = record.outcome, record.counts, self._clock.now()
        self._metrics.job_finished(job, record, at=now)
        failed = outcome.result not in NOT_FAILED
        if failed:
            self._queues.failures.append(
                Failure(
                    key=job.key,
                    queue=job.queue,
                    at=now,
                    result=outcome.result,
                    error_class=outcome.error_class or outcome.result.value,
                    error=outcome.error or "",
                )
            )
        (log.warning if failed else log.info)(
            "sync.job_finished",
            provider_type=job.provider_type.value,
            queue=job.queue.value,
            result=outcome.result.value,
            attempt=record.attempt,
            duration_ms=round(record.duration.total_seconds() * 1_000),
            created=counts.created,
            updated=counts.updated,
            deleted=counts.deleted,
            quarantined=counts.quarantined,
            unexplained=counts.unexplained,
            fetched_bytes=counts.fetched_bytes,
            error_class=outcome.error_class,
            error=outcome.error,
            next_sync_at=None if outcome.next_sync_at is None else outcome.next_sync_at.isoformat(),
        )
        self._finished(job, record)
