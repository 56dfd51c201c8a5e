"""`emailsyncd sync`: one full pass in the foreground, through the usual queues and limits."""

import signal
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from emailsync.api.explaining import out_of_service
from emailsync.assembly import instance_name, open_syncing
from emailsync.commands.accounts import find_one
from emailsync.commands.installation import Installation, opened_installation
from emailsync.commands.output import Answer, CommandFailed, ExitCode
from emailsync.config import LiveSettings, Settings
from emailsync.domain.accounts import AccountKey, AccountStatus
from emailsync.domain.runs import RunRecord
from emailsync.metrics import Metrics
from emailsync.scheduling.engine import SyncEngine
from emailsync.scheduling.foreground import AccountResult, ForegroundSync
from emailsync.store.accounts import AccountInfo, AccountStore
from emailsync.system_clock import SystemClock


@dataclass(slots=True)
class Tally:
    """What became of each account so far, shown as a bar on a terminal."""

    bar: Progress
    results: dict[AccountKey, AccountResult] = field(default_factory=dict)
    changed: dict[AccountKey, int] = field(default_factory=dict)
    messages: int = 0

    def start(self, accounts: int) -> None:
        """Begin with so many accounts."""
        self.bar.add_task("accounts", total=accounts, messages=0)

    def tell(self, key: AccountKey, record: RunRecord | None, result: AccountResult | None) -> None:
        """Take note of a run, and of an account's end."""
        if record is not None:
            self.changed[key] = self.changed.get(key, 0) + record.counts.changed
            self.messages += record.counts.created
        if result is not None:
            self.results[key] = result
        for task in self.bar.task_ids:
            self.bar.update(task, completed=len(self.results), messages=self.messages)


async def sync(names: Sequence[str], settings: Settings, answer: Answer) -> int:
    """Bring the named accounts, or all active ones, up to date; say how each ended."""
    async with opened_installation(settings) as installation:
        accounts = await _accounts(installation, names)
        tally = Tally(_progress_bar())
        with tally.bar:
            tally.start(len(accounts))
            for account in accounts:
                if reason := out_of_service(account):
                    tally.tell(account.key, None, AccountResult(up_to_date=False, reason=reason))
            wanted = [each for each in accounts if each.key not in tally.results]
            await _sync(settings, installation, wanted, tally)
    return _answer(accounts, tally, answer)


async def _accounts(installation: Installation, names: Sequence[str]) -> Sequence[AccountInfo]:
    if names:
        found = [await find_one(installation, name) for name in names]
        return list({account.key: account for account in found}.values())
    everything = await installation.accounts.list_all()
    return [each for each in everything if each.is_active and each.status is AccountStatus.ACTIVE]


async def _sync(
    settings: Settings, installation: Installation, wanted: Collection[AccountInfo], tally: Tally
) -> None:
    clock = SystemClock()
    async with open_syncing(
        LiveSettings(settings),
        database=installation.database,
        keys=installation.keys,
        metrics=Metrics(),
        clock=clock,
        instance_id=f"{instance_name(settings)}/sync",
        kinds={account.provider_type for account in wanted},
    ) as syncing:
        why_never = partial(_why_never, installation.accounts)
        foreground = ForegroundSync(syncing.engine, clock, tally.tell, why_never)
        async with _running(syncing.engine):
            await foreground.run([account.key for account in wanted])


async def _why_never(accounts: AccountStore, key: AccountKey) -> str | None:
    """Return what was done to an account since the sync began that keeps it from being claimed."""
    account = await accounts.get(key.account_id, key.tenant_id)
    return "it was removed" if account is None else out_of_service(account)


@asynccontextmanager
async def _running(engine: SyncEngine) -> AsyncIterator[None]:
    """Run the engine around the body; a signal ends the body, and the leases are given back.

    Raises:
        CommandFailed: a signal came.
    """
    async with anyio.create_task_group() as group:
        await group.start(engine.run, name="engine")
        try:
            with anyio.CancelScope() as body:
                group.start_soon(_cancel_on_signal, body, name="signals")
                yield
        finally:
            with anyio.CancelScope(shield=True):
                await engine.stop(grace_s=0)
        group.cancel_scope.cancel()
    if body.cancelled_caught:
        raise CommandFailed("interrupted; what was stored stays, the next sync goes on from there")


async def _cancel_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


def _progress_bar() -> Progress:
    """Return a bar on stderr, which shows nothing where nobody looks."""
    return Progress(
        TextColumn("syncing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("accounts, {task.fields[messages]} new messages"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )


def _answer(accounts: Sequence[AccountInfo], tally: Tally, answer: Answer) -> int:
    rows = [_row(account, tally) for account in accounts]
    failed = [row for row in rows if not row["up_to_date"]]
    if answer.as_json:
        answer.table((), rows)
    else:
        answer.say(f"{len(rows) - len(failed)} of {len(rows)} accounts are up to date")
        if failed:
            answer.table(("email_address", "tenant_id", "reason"), failed)
    return ExitCode.INCOMPLETE if failed else ExitCode.OK


def _row(account: AccountInfo, tally: Tally) -> Mapping[str, Any]:
    result = tally.results[account.key]
    return {
        "id": str(account.key.account_id),
        "tenant_id": account.key.tenant_id,
        "email_address": account.email_address,
        "up_to_date": result.up_to_date,
        "reason": result.reason,
        "changed_rows": tally.changed.get(account.key, 0),
    }
