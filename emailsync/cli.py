"""The command line: words to calls. What a command does is in `emailsync.commands`.

Without a subcommand it is the daemon. Secrets are read from stdin only: arguments show in `ps`.
A command imports what it needs itself, so that the quick ones need not load a web server.
"""

import os
import sys
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from emailsync import logs
from emailsync.cli_accounts import account_app
from emailsync.cli_tokens import token_app
from emailsync.commands import accounts, schema
from emailsync.commands.assumed import ASSUMED_SYNC_S, MIX
from emailsync.commands.invocation import Json, choice, given, run, run_async
from emailsync.commands.output import Answer, plain_errors
from emailsync.domain.accounts import ProviderType
from emailsync.settings_file import load, load_again

app = typer.Typer(
    name="emailsyncd",
    help="Keeps many tenants' mailboxes in step with your own Postgres.\n\n"
    "Without a command it runs the daemon in the foreground.",
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, secrets among them
)
app.add_typer(account_app, name="account")
app.add_typer(token_app, name="token")


Names = Annotated[
    list[str] | None, typer.Argument(metavar="[EMAIL_OR_ID]...", help="The accounts.")
]


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The settings, in TOML.")
    ] = None,
    *,
    show_version: Annotated[
        bool, typer.Option("--version", help="Say which version this is, and exit.")
    ] = False,
) -> None:
    """Run the daemon in the foreground, or one of the commands below."""
    if show_version:
        typer.echo(f"emailsyncd {version('emailsync')}")
        raise typer.Exit
    context.obj = config
    if context.invoked_subcommand is None:
        from emailsync.app import run_daemon

        with plain_errors():
            path = given(config)
            again = partial(load_again, path, os.environ)
            code = run_async(run_daemon, load(path, os.environ), again, os.environ)
        raise typer.Exit(code)


@app.command()
def demo(
    tenants: Annotated[int, typer.Option(min=1, max=10_000, help="How many tenants.")] = 20,
    listen: Annotated[
        str, typer.Option(help="Where the dashboard, the API and the health pages are served.")
    ] = "127.0.0.1:8025",
    seconds: Annotated[
        int | None, typer.Option(min=1, help="End by itself after this long; else on Ctrl-C.")
    ] = None,
    *,
    faults: Annotated[
        bool,
        typer.Option(
            "--faults",
            help="Let providers refuse, cut connections and forget cursors now and then.",
        ),
    ] = False,
) -> None:
    """Show everything at work on generated mail: needs no server and leaves nothing behind."""
    from emailsync.demo import run_demo  # its packages are an extra that a server does not need

    raise typer.Exit(run_demo(tenants, listen, seconds, faults=faults))


@app.command()
def migrate(context: typer.Context, *, as_json: Json = False) -> None:
    """Bring the database's schema up to date."""
    run(context, schema.migrate_schema, as_json=as_json)


@app.command()
def check(context: typer.Context, *, as_json: Json = False) -> None:
    """Look at settings, secrets, database and limits; say what falls short and why."""
    from emailsync.commands.check import check as check_everything

    run(context, check_everything, as_json=as_json)


@app.command()
def rekey(context: typer.Context, *, as_json: Json = False) -> None:
    """Encrypt every stored credential under the newest key; may be stopped and repeated."""
    run(context, accounts.rekey, as_json=as_json)


@app.command()
def sync(context: typer.Context, names: Names = None, *, as_json: Json = False) -> None:
    """Bring the named accounts, or all active ones, fully up to date; then exit.

    Exits with 3 when some could not be synced.
    """
    from emailsync.commands import syncing

    run(
        context,
        partial(syncing.sync, names or []),
        as_json=as_json,
        verbose=not sys.stderr.isatty(),
    )


Many = Annotated[int, typer.Option(min=1, max=100_000, help="How many tenants.")]
Each = Annotated[int, typer.Option(min=1, max=1_000, help="Each with.")]
Kinds = Annotated[
    list[ProviderType] | None,
    choice(
        ProviderType,
        "--type",
        text="What the accounts are, in turns; may be repeated; by default all types.",
    ),
]
Hosts = Annotated[
    int, typer.Option(min=1, max=100_000, help="Servers that the IMAP accounts are on.")
]
SyncSeconds = Annotated[
    float, typer.Option(min=0.001, max=86_400, help="How long a sync takes, median.")
]
PatienceHours = Annotated[
    float, typer.Option(min=0.1, max=1_000, help="Give a cycle up after this long.")
]
MoreHours = Annotated[
    float, typer.Option(min=0, max=1_000, help="Go on for so long after the first cycle.")
]


@app.command()
def simulate(
    context: typer.Context,
    *,
    tenants: Many,
    accounts_per_tenant: Each = 2,
    kinds: Kinds = None,
    imap_hosts: Hosts = 1,
    mix: Annotated[
        str, typer.Option(help="Percent of the tenants that are critical, high, normal and low.")
    ] = MIX,
    sync_seconds: SyncSeconds = ASSUMED_SYNC_S,
    patience_hours: PatienceHours = 6,
    hours: MoreHours = 0,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 1,
    as_json: Json = False,
) -> None:
    """Run the scheduler, queues and limits in virtual time; say how soon all are synced.

    All accounts are due at once. No database is opened and no server is spoken to.
    """
    from emailsync.commands import simulating
    from emailsync.simulation.population import Crowd
    from emailsync.simulation.run import Plan

    with plain_errors():
        plan = Plan(
            crowd=Crowd(
                tenants=tenants,
                accounts_per_tenant=accounts_per_tenant,
                mix=simulating.mix_of(mix),
                provider_types=kinds or tuple(ProviderType),
                imap_hosts=imap_hosts,
            ),
            sync_s=sync_seconds,
            patience=timedelta(hours=patience_hours),
            after=timedelta(hours=hours),
            seed=seed,
        )
        settings = load(given(context.obj), os.environ)
        logs.configure(level="warning", form=settings.logging.format)
        simulating.show(settings, plan, Answer(as_json=as_json))
