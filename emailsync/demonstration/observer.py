"""Puts a moment of the demo together: from the database, the metrics and the providers' ledgers."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import eq, itemgetter
from typing import Any, Final

from prometheus_client.samples import Sample

from emailsync.demonstration.http_providers import HttpProviders
from emailsync.demonstration.servers import Daemon, MailHost
from emailsync.demonstration.view import Moment, QueueLine, Tally
from emailsync.domain.priority import Priority, QueueName, priorities_of, queue_of
from emailsync.store.database import Database
from emailsync.store.queries import load_queries

SQL: Final = load_queries("demo")
RATE_OVER_MOMENTS = 8  #: of the messages per second


class Observer:
    """Looks at everything; changes nothing."""

    def __init__(
        self, database: Database, daemon: Daemon, imap: MailHost, providers: HttpProviders
    ) -> None:
        self._database = database
        self._daemon = daemon
        self._imap = imap
        self._providers = providers
        self._started = time.monotonic()
        self._stored: deque[tuple[float, int]] = deque([(0.0, 0)], maxlen=RATE_OVER_MOMENTS)

    async def look(self, *, quiet: bool) -> Moment:
        """Return how things are now; `quiet` ends all changes in the mailboxes.

        The ledger is asked before the database: while mailboxes change the database may be ahead
        of it, and once they are quiet it stands still.
        """
        ledger = {
            **await self._imap.ledger(quiet=quiet),
            **await self._providers.ledger(quiet=quiet),
        }
        samples = await self._daemon.samples()
        async with self._database.connection() as connection:
            accounts = [dict(row) for row in await connection.fetch(SQL["accounts"])]
        elapsed_s = time.monotonic() - self._started
        return Moment(
            elapsed_s=elapsed_s,
            queues=[queue_line(queue, samples, accounts) for queue in QueueName],
            accounts=Counter(_state(account) for account in accounts),
            tenants=_tallies(accounts, ledger, by="tenant_id"),
            types=_tallies(accounts, ledger, by="provider_type"),
            refusals=await self._providers.refusals(),
            messages_per_s=self._rate(elapsed_s, sum(account["stored"] for account in accounts)),
            is_quiet=quiet,
        )

    def _rate(self, elapsed_s: float, stored: int) -> float:
        self._stored.append((elapsed_s, stored))
        (first_s, first), (last_s, last) = self._stored[0], self._stored[-1]
        return max(0.0, (last - first) / (last_s - first_s)) if last_s > first_s else 0.0


def _state(account: Mapping[str, Any]) -> str:
    if account["status"] != "active":
        return str(account["status"])
    if account["circuit_state"] != "CLOSED":
        return "circuit open"
    if account["is_claimed"]:
        return "queued or being synced"
    return "waiting for their next sync" if account["is_synced"] else "not synced yet"


def queue_line(
    queue: QueueName, samples: Sequence[Sample], accounts: Sequence[Mapping[str, Any]]
) -> QueueLine:
    """Return how a queue is; `accounts` are all there are, as the query gives them."""
    priorities = {priority.name.lower() for priority in priorities_of(queue)}
    waiting = int(sum(_values(samples, "sync_jobs_queued", "priority", priorities)))
    of_queue = [
        account for account in accounts if queue_of(Priority(account["sync_priority"])) is queue
    ]
    claimed = sum(account["is_claimed"] for account in of_queue)
    return QueueLine(
        name=queue,
        waiting=waiting,
        running=max(0, claimed - waiting),
        completed=int(sum(_values(samples, "email_sync_queue_completed", "queue", {queue.value}))),
        failed=int(sum(_values(samples, "email_sync_queue_failed", "queue", {queue.value}))),
        longest_wait_s=max((account["due_for_s"] for account in of_queue), default=0.0),
    )


def _values(samples: Iterable[Sample], name: str, label: str, values: set[str]) -> list[float]:
    """Return the values of a metric for these labels; the parser adds `_total` to counters."""
    return [
        sample.value
        for sample in samples
        if sample.name.removesuffix("_total") == name and sample.labels.get(label) in values
    ]


def _tallies(
    accounts: Sequence[Mapping[str, Any]], ledger: Mapping[str, int], *, by: str
) -> Sequence[Tally]:
    """Sum the accounts by one of their columns."""
    ordered = sorted(accounts, key=itemgetter(by))
    return [
        _tally(str(name), list(members), ledger)
        for name, members in groupby(ordered, key=itemgetter(by))
    ]


def _tally(name: str, accounts: Sequence[Mapping[str, Any]], ledger: Mapping[str, int]) -> Tally:
    on_server = [ledger.get(account["email_address"], 0) for account in accounts]
    stored = [account["stored"] for account in accounts]
    priorities = {Priority(account["sync_priority"]).name.lower() for account in accounts}
    return Tally(
        name=name,
        priority=priorities.pop() if len(priorities) == 1 else "",
        accounts=len(accounts),
        in_step=sum(map(eq, stored, on_server)),
        stored=sum(stored),
        on_server=sum(on_server),
    )
