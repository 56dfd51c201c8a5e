"""What the demo shows: one moment of the daemon, as a table for a terminal or as one line.

Knows how things look; where the numbers come from is the demo's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from emailsync.domain.priority import QueueName

TENANTS_SHOWN = 12  #: the others share one line


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One queue now; `completed` and `failed` since the daemon's start."""

    name: QueueName
    waiting: int
    running: int
    completed: int
    failed: int
    longest_wait_s: float  #: of its accounts that are due and not synced yet


@dataclass(frozen=True, slots=True)
class Tally:
    """Some accounts together: those of a tenant, or of a type."""

    name: str
    priority: str  #: "": they have different ones
    accounts: int
    in_step: int  #: accounts of which as many messages are stored as lie on the server right now
    stored: int
    on_server: int


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything shown at one time."""

    elapsed_s: float
    queues: Sequence[QueueLine]
    accounts: Mapping[str, int]  #: state -> how many
    tenants: Sequence[Tally]
    types: Sequence[Tally]
    refusals: Mapping[str, int]  #: HTTP status -> how often a provider answered it
    messages_per_s: float
    is_quiet: bool  #: nothing changes on the servers any more

    @property
    def stored(self) -> int:
        """Messages in Postgres."""
        return sum(tenant.stored for tenant in self.tenants)

    @property
    def on_server(self) -> int:
        """Messages on the mail servers."""
        return sum(tenant.on_server for tenant in self.tenants)

    @property
    def in_step(self) -> int:
        """Accounts of which as many messages are stored as lie on the server right now."""
        return sum(tenant.in_step for tenant in self.tenants)

    @property
    def is_complete(self) -> bool:
        """Whether every account has everything stored."""
        return all(tenant.in_step == tenant.accounts for tenant in self.tenants)


def as_line(moment: Moment) -> str:
    """Return the moment as one line, for a log."""
    queues = ", ".join(
        f"{queue.name} {queue.waiting}/{queue.running}/{queue.completed}" for queue in moment.queues
    )
    states = ", ".join(f"{count} {state}" for state, count in moment.accounts.items())
    types = ", ".join(f"{each.name} {each.stored:,}/{each.on_server:,}" for each in moment.types)
    return (
        f"{moment.elapsed_s:5.0f} s  {moment.stored:,} of {moment.on_server:,} messages stored"
        f" ({types}), {moment.messages_per_s:,.0f}/s;  accounts: {states};"
        f"  {moment.in_step} in step;  queues (waiting/running/completed): {queues}"
        f"{_refused(moment)}"
    )


def as_summary(moment: Moment) -> str:
    """Return the result, once nothing changes any more."""
    accounts = sum(tenant.accounts for tenant in moment.tenants)
    whole = f"{accounts} accounts of {len(moment.tenants)} tenants"
    if moment.is_complete:
        return f"{whole}: {moment.stored:,} messages stored = {moment.on_server:,} on the servers."
    lacking = ", ".join(
        f"{tenant.name} {tenant.stored:,} of {tenant.on_server:,}"
        for tenant in moment.tenants
        if tenant.in_step < tenant.accounts
    )
    return f"{whole}: NOT everything is stored. Stored and on the servers differ: {lacking}."


def as_screen(moment: Moment) -> RenderableType:
    """Return the moment as tables."""
    life = "the mailboxes are quiet now" if moment.is_quiet else "new mail keeps arriving"
    states = ", ".join(f"{count} {state}" for state, count in moment.accounts.items())
    headline = Text.assemble(
        ("emailsyncd demo", "bold"),
        f"  {moment.elapsed_s:.0f} s, {life}\n",
        (f"{moment.stored:,}", "bold green"),
        f" of {moment.on_server:,} messages stored, {moment.messages_per_s:,.0f} messages/s\n",
        f"accounts: {states}{_refused(moment)}",
    )
    tables = (
        _queue_table(moment),
        _table("provider", moment.types),
        _tenant_table(moment),
    )
    return Group(headline, *tables)


def _refused(moment: Moment) -> str:
    if not moment.refusals:
        return ""
    counts = ", ".join(
        f"{count} x {status} {HTTPStatus(int(status)).phrase}"
        for status, count in sorted(moment.refusals.items())
    )
    return f";  refused by providers: {counts}"


def _queue_table(moment: Moment) -> Table:
    table = Table(
        "queue",
        *_right("waiting", "running", "completed", "failed", "longest wait"),
        caption="longest wait: of an account that is due for a sync",
        caption_justify="left",
    )
    for queue in moment.queues:
        table.add_row(
            queue.name,
            str(queue.waiting),
            str(queue.running),
            str(queue.completed),
            str(queue.failed),
            f"{queue.longest_wait_s:.1f} s",
        )
    return table


def _tenant_table(moment: Moment) -> Table:
    shown = (*moment.tenants[:TENANTS_SHOWN], *_rest(moment.tenants[TENANTS_SHOWN:]))
    table = _table("tenant", shown)
    table.caption = "in step: stored equals what is on the server right now"
    table.caption_justify = "left"
    return table


def _table(title: str, tallies: Sequence[Tally]) -> Table:
    table = Table(title, "priority", *_right("accounts", "in step", "on the servers", "stored"))
    for tally in tallies:
        table.add_row(
            tally.name,
            tally.priority,
            str(tally.accounts),
            str(tally.in_step),
            f"{tally.on_server:,}",
            Text(f"{tally.stored:,}", "green" if tally.stored == tally.on_server else "yellow"),
        )
    return table


def _rest(tenants: Sequence[Tally]) -> Sequence[Tally]:
    if not tenants:
        return ()
    return (
        Tally(
            name=f"and {len(tenants)} more",
            priority="",
            accounts=sum(tenant.accounts for tenant in tenants),
            in_step=sum(tenant.in_step for tenant in tenants),
            stored=sum(tenant.stored for tenant in tenants),
            on_server=sum(tenant.on_server for tenant in tenants),
        ),
    )


def _right(*names: str) -> Sequence[Column]:
    return [Column(name, justify="right") for name in names]
