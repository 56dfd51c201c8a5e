"""The command line: words to calls. What a command does is in `emailsync.commands`.

Without a subcommand it is the daemon. Secrets are read from stdin only: arguments show in `ps`.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import anyio
import typer

from emailsync import logs
from emailsync.app import run_daemon
from emailsync.commands import accounts, schema, simulating, syncing
from emailsync.commands.capacity import ASSUMED_SYNC_S
from emailsync.commands.check import check as check_everything
from emailsync.commands.new_account import (
    ImapServer,
    TokenWay,
    secret_of,
    settings_of,
)
from emailsync.commands.output import Answer, CommandFailed, ExitCode, plain_errors
from emailsync.commands.stdin_secrets import secret_on_stdin
from emailsync.config import Settings
from emailsync.domain.accounts import ProviderType, TenantId
from emailsync.providers.imap.dialling import Security
from emailsync.providers.oauth.classifier import Issuer
from emailsync.settings_file import load, load_again
from emailsync.simulation.population import Crowd
from emailsync.simulation.run import Plan
from emailsync.store.accounts import NewAccount

Choice = TypeVar("Choice", bound=StrEnum)
Command = Callable[[Settings, Answer], Awaitable[int]]

app = typer.Typer(
    name="emailsyncd",
    help="Keeps many tenants' mailboxes in step with your own Postgres.\n\n"
    "Without a command it runs the daemon in the foreground.",
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, secrets among them
)
account_app = typer.Typer(help="The accounts that are synced.", no_args_is_help=True)
app.add_typer(account_app, name="account")


def _utf8(text: str | None) -> str | None:
    """Refuse an argument whose bytes are no text: no database takes it."""
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("it is not UTF-8") from None
    return text


def _one_of(choices: type[Choice]) -> Callable[[str], Choice]:
    """Return what reads a choice and says in plain words when it is none."""

    def read(text: str) -> Choice:
        try:
            return choices(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(choices)}") from None

    return read


Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")]
Which = Annotated[str, typer.Argument(metavar="EMAIL_OR_ID", help="The account.")]
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
        with plain_errors():
            path = _given(config)
            again = partial(load_again, path, os.environ)
            code = _run_async(run_daemon, load(path, os.environ), again, os.environ)
        raise typer.Exit(code)


@app.command()
def demo(
    tenants: Annotated[int, typer.Option(min=1, max=10_000, help="How many tenants.")] = 20,
    listen: Annotated[
        str, typer.Option(help="Where the health pages are served.")
    ] = "127.0.0.1:8025",
    seconds: Annotated[
        int | None, typer.Option(min=1, help="End by itself after this long; else on Ctrl-C.")
    ] = None,
) -> None:
    """Show everything at work on generated mail: needs no server and leaves nothing behind."""
    # Only here: the demo's packages are an extra that a server does not need.
    from emailsync.demo import run_demo  # noqa: PLC0415

    raise typer.Exit(run_demo(tenants, listen, seconds))


@app.command()
def migrate(context: typer.Context, *, as_json: Json = False) -> None:
    """Bring the database's schema up to date."""
    _run(context, schema.migrate_schema, as_json=as_json)


@app.command()
def check(context: typer.Context, *, as_json: Json = False) -> None:
    """Look at settings, secrets, database and limits; say what falls short and why."""
    _run(context, check_everything, as_json=as_json)


@app.command()
def rekey(context: typer.Context, *, as_json: Json = False) -> None:
    """Encrypt every stored credential under the newest key; may be stopped and repeated."""
    _run(context, accounts.rekey, as_json=as_json)


@app.command()
def sync(context: typer.Context, names: Names = None, *, as_json: Json = False) -> None:
    """Bring the named accounts, or all active ones, fully up to date; then exit.

    Exits with 3 when some could not be synced.
    """
    _run(
        context,
        partial(syncing.sync, names or []),
        as_json=as_json,
        verbose=not sys.stderr.isatty(),
    )


@app.command()
def simulate(
    context: typer.Context,
    *,
    tenants: Annotated[int, typer.Option(min=1, max=100_000, help="How many tenants.")],
    accounts_per_tenant: Annotated[int, typer.Option(min=1, max=1_000, help="Each with.")] = 2,
    kinds: Annotated[
        list[ProviderType] | None,
        typer.Option(
            "--type",
            metavar=f"<{'|'.join(ProviderType)}>",
            parser=_one_of(ProviderType),
            help="What the accounts are, in turns; may be repeated. [imap]",
        ),
    ] = None,
    imap_hosts: Annotated[
        int, typer.Option(min=1, max=100_000, help="Servers that the IMAP accounts are on.")
    ] = 1,
    mix: Annotated[
        str, typer.Option(help="Tenants in percent: critical,high,normal,low.")
    ] = simulating.MIX,
    sync_seconds: Annotated[
        float, typer.Option(min=0.001, max=86_400, help="How long a sync takes, median.")
    ] = ASSUMED_SYNC_S,
    patience_hours: Annotated[
        float, typer.Option(min=0.1, max=1_000, help="Give a cycle up after this long.")
    ] = 6,
    hours: Annotated[
        float, typer.Option(min=0, max=1_000, help="Go on for so long after the first cycle.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 1,
    as_json: Json = False,
) -> None:
    """Run the scheduler, queues and limits in virtual time; say how soon all are synced.

    All accounts are due at once. No database is opened and no server is spoken to.
    """
    with plain_errors():
        plan = Plan(
            crowd=Crowd(
                tenants=tenants,
                accounts_per_tenant=accounts_per_tenant,
                mix=simulating.mix_of(mix),
                provider_types=kinds or (ProviderType.IMAP,),
                imap_hosts=imap_hosts,
            ),
            sync_s=sync_seconds,
            patience=timedelta(hours=patience_hours),
            after=timedelta(hours=hours),
            seed=seed,
        )
        settings = load(_given(context.obj), os.environ)
        logs.configure(level="warning", form=settings.logging.format)
        simulating.show(settings, plan, Answer(as_json=as_json))


@account_app.command("add")
def account_add(
    context: typer.Context,
    *,
    tenant: Annotated[
        str, typer.Option(help="The tenant's id; it is made if it is new.", callback=_utf8)
    ],
    kind: Annotated[
        ProviderType,
        typer.Option(
            "--type",
            metavar=f"<{'|'.join(ProviderType)}>",
            parser=_one_of(ProviderType),
            help="How the mailbox is spoken to.",
        ),
    ],
    email: Annotated[str, typer.Option(help="The mailbox's address.", callback=_utf8)],
    host: Annotated[str | None, typer.Option(help="The IMAP server.")] = None,
    port: Annotated[int | None, typer.Option(help="993, or 143 for starttls and none.")] = None,
    security: Annotated[
        Security,
        typer.Option(
            metavar=f"<{'|'.join(Security)}>",
            parser=_one_of(Security),
            help="How the connection is protected.",
        ),
    ] = Security.TLS,
    username: Annotated[str | None, typer.Option(help="By default the address.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from stdin.")
    ] = False,
    oauth: Annotated[
        Issuer | None,
        typer.Option(
            metavar=f"<{'|'.join(Issuer)}>",
            parser=_one_of(Issuer),
            help="Log in to the IMAP server by this issuer's tokens instead of a password.",
        ),
    ] = None,
    refresh_token_stdin: Annotated[
        bool, typer.Option("--refresh-token-stdin", help="Read an OAuth refresh token from stdin.")
    ] = False,
    application: Annotated[
        bool,
        typer.Option(
            "--application",
            help="Get tokens as ourselves: Google's service account, Microsoft's application.",
        ),
    ] = False,
    directory: Annotated[
        str | None, typer.Option(help="The id of the mailbox's Microsoft directory.")
    ] = None,
    no_test: Annotated[bool, typer.Option("--no-test", help="Do not try the login first.")] = False,
    as_json: Json = False,
) -> None:
    """Add an account; its login is tried first."""
    with plain_errors():
        server = ImapServer(host=host, port=port, security=security, username=username or email)
        way = TokenWay(oauth=oauth, application=application, directory=directory)
        account_settings = settings_of(kind, server, way)
        wanted = NewAccount(
            tenant_id=TenantId(tenant),
            provider_type=kind,
            email_address=email,
            settings=account_settings,
            credentials=secret_on_stdin(
                secret_of(kind, account_settings),
                password=password_stdin,
                refresh_token=refresh_token_stdin,
            ),
        )
    _run(context, partial(accounts.add, wanted, test=not no_test), as_json=as_json)


@account_app.command("list")
def account_list(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.", callback=_utf8)] = None,
    *,
    as_json: Json = False,
) -> None:
    """List the accounts and how they are."""
    _run(context, partial(accounts.list_all, tenant), as_json=as_json)


@account_app.command("show")
def account_show(context: typer.Context, which: Which, *, as_json: Json = False) -> None:
    """Show one account; its secrets are never shown."""
    _run(context, partial(accounts.show, which), as_json=as_json)


@account_app.command("explain")
def account_explain(context: typer.Context, which: Which, *, as_json: Json = False) -> None:
    """Say why an account is where it is, when it runs next, and what is stored of it."""
    _run(context, partial(accounts.explain, which), as_json=as_json)


@account_app.command("pause")
def account_pause(context: typer.Context, which: Which, *, as_json: Json = False) -> None:
    """Stop syncing an account; what is stored stays."""
    _run(context, partial(accounts.pause, which), as_json=as_json)


@account_app.command("resume")
def account_resume(
    context: typer.Context,
    which: Which,
    *,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read a new password from stdin.")
    ] = False,
    refresh_token_stdin: Annotated[
        bool, typer.Option("--refresh-token-stdin", help="Read a new refresh token from stdin.")
    ] = False,
    no_test: Annotated[
        bool, typer.Option("--no-test", help="Do not try the new secret first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Sync an account again, at once: after a pause, or after its error was put right."""
    with plain_errors():
        given = {"password": password_stdin, "refresh_token": refresh_token_stdin}
        new = next((name for name, is_given in given.items() if is_given), None)
        credentials = secret_on_stdin(new, **given)
    _run(context, partial(accounts.resume, which, credentials, test=not no_test), as_json=as_json)


@account_app.command("remove")
def account_remove(
    context: typer.Context,
    which: Which,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove an account and everything stored of it."""
    question = f"Remove {which} and every message stored of it?"
    if not yes and not (sys.stdin.isatty() and typer.confirm(question)):
        with plain_errors():
            raise CommandFailed("nothing was removed; --yes removes without asking", ExitCode.USAGE)
    _run(context, partial(accounts.remove, which), as_json=as_json)


def _run(
    context: typer.Context, command: Command, *, as_json: bool, verbose: bool = False
) -> NoReturn:
    """Run a command on the settings; it speaks on stdout, and on stderr only of what goes wrong."""
    answer = Answer(as_json=as_json)
    with plain_errors(answer):
        settings = load(_given(context.obj), os.environ)
        level = settings.logging.level if verbose else "warning"
        logs.configure(level=level, form=settings.logging.format)
        code = _run_async(command, settings, answer)
    raise typer.Exit(code)


def _run_async(function: Callable[..., Awaitable[int]], *arguments: object) -> int:
    return anyio.run(function, *arguments, backend_options={"use_uvloop": True})


def _given(config: Path | None) -> Path:
    if config is None:
        raise CommandFailed(
            "--config FILE is missing, before the command; config.example.toml shows every setting",
            ExitCode.USAGE,
        )
    return config
