"""How far a running job is: what it changed so far and when its quantum is over.

The worker makes one for each run and reads it whatever the end of the run, a crash included.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from emailsync.domain.pages import PageResult, ReadyPage
from emailsync.domain.quota_use import QuotaUse
from emailsync.domain.runs import SyncCounts
from emailsync.ports import Clock

QUANTUM: Final = timedelta(seconds=20)
"""A job that ran so long goes back to its queue: a 500,000-message backfill holds no worker."""


@dataclass(slots=True)
class Progress:
    """Mutable by design: the run adds to it, the worker reads it."""

    clock: Clock
    quantum: timedelta
    started_s: float  #: monotonic
    counts: SyncCounts
    quota_use: QuotaUse = field(default_factory=QuotaUse)

    @classmethod
    def start(cls, clock: Clock, quantum: timedelta = QUANTUM) -> "Progress":
        """Return the progress of a run that begins now."""
        return cls(clock, quantum, clock.monotonic(), SyncCounts())

    def add(self, result: PageResult, page: ReadyPage) -> None:
        """Count an applied page."""
        done = self.counts
        self.counts = replace(
            done,
            created=done.created + result.created,
            updated=done.updated + result.updated,
            deleted=done.deleted + result.deleted,
            quarantined=done.quarantined + result.quarantined,
            pages=done.pages + 1,
            fetched_bytes=done.fetched_bytes
            + sum(len(message.fetched.raw or b"") for message in page.messages),
        )

    def count_unexplained(self, folders: int) -> None:
        """Note how many folders differ from the server even after a full comparison."""
        self.counts = replace(self.counts, unexplained=folders)

    def elapsed(self) -> timedelta:
        """Return how long the run has been going."""
        return timedelta(seconds=self.clock.monotonic() - self.started_s)

    def quantum_is_over(self) -> bool:
        """Return whether the run should stop after the page at hand."""
        return self.elapsed() >= self.quantum
