"""`emailsyncd account ...`: words to calls.

Secrets are read from stdin only: arguments show in `ps`.
"""

import sys
from functools import partial
from typing import Annotated

import typer

from emailsync.commands import accounts
from emailsync.commands.invocation import Json, choice, run, utf8
from emailsync.commands.new_account import ImapServer, TokenWay, settings_of
from emailsync.commands.output import CommandFailed, ExitCode, plain_errors
from emailsync.commands.stdin_secrets import secret_on_stdin
from emailsync.domain.accounts import ProviderType, TenantId
from emailsync.providers.account_settings import secret_of
from emailsync.providers.imap.account_settings import Security
from emailsync.providers.oauth.classifier import Issuer
from emailsync.store.accounts import NewAccount

account_app = typer.Typer(help="The accounts that are synced.", no_args_is_help=True)

Which = Annotated[str, typer.Argument(metavar="EMAIL_OR_ID", help="The account.")]
Tenant = Annotated[
    str, typer.Option(help="The tenant's id; it is made if it is new.", callback=utf8)
]
Kind = Annotated[ProviderType, choice(ProviderType, "--type", text="How the mailbox is spoken to.")]
Host = Annotated[
    str | None,
    typer.Option(help="The IMAP server; by default that of the address, if it is known."),
]
Username = Annotated[
    str | None, typer.Option(help="By default the address, or what the server wants.")
]
Protection = Annotated[Security, choice(Security, text="How the connection is protected.")]
TokenIssuer = Annotated[
    Issuer | None,
    choice(Issuer, text="Log in to the IMAP server by this issuer's tokens instead of a password."),
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin.")
]
RefreshTokenStdin = Annotated[
    bool, typer.Option("--refresh-token-stdin", help="Read an OAuth refresh token from stdin.")
]
Application = Annotated[
    bool,
    typer.Option(
        "--application",
        help="Get tokens as ourselves: Google's service account, Microsoft's application.",
    ),
]
Directory = Annotated[str | None, typer.Option(help="The id of the mailbox's Microsoft directory.")]
NoTest = Annotated[bool, typer.Option("--no-test", help="Do not try the login first.")]


@account_app.command("add")
def account_add(
    context: typer.Context,
    *,
    tenant: Tenant,
    kind: Kind,
    email: Annotated[str, typer.Option(help="The mailbox's address.", callback=utf8)],
    host: Host = None,
    port: Annotated[int | None, typer.Option(help="993, or 143 for starttls and none.")] = None,
    security: Protection = Security.TLS,
    username: Username = None,
    password_stdin: PasswordStdin = False,
    oauth: TokenIssuer = None,
    refresh_token_stdin: RefreshTokenStdin = False,
    application: Application = False,
    directory: Directory = None,
    no_test: NoTest = False,
    as_json: Json = False,
) -> None:
    """Add an account; its login is tried first."""
    with plain_errors():
        username = username or (email if host else None)
        server = ImapServer(host=host, port=port, security=security, username=username)
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
    run(context, partial(accounts.add, wanted, test=not no_test), as_json=as_json)


@account_app.command("list")
def account_list(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.", callback=utf8)] = None,
    *,
    as_json: Json = False,
) -> None:
    """List the accounts and how they are."""
    run(context, partial(accounts.list_all, tenant), as_json=as_json)


@account_app.command("show")
def account_show(context: typer.Context, which: Which, *, as_json: Json = False) -> None:
    """Show one account; its secrets are never shown."""
    run(context, partial(accounts.show, which), as_json=as_json)


@account_app.command("explain")
def account_explain(context: typer.Context, which: Which, *, as_json: Json = False) -> None:
    """Say why an account is where it is, when it runs next, and what is stored of it."""
    run(context, partial(accounts.explain, which), as_json=as_json)


@account_app.command("pause")
def account_pause(context: typer.Context, which: Which, *, as_json: Json = False) -> None:
    """Stop syncing an account; what is stored stays."""
    run(context, partial(accounts.pause, which), as_json=as_json)


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
    run(context, partial(accounts.resume, which, credentials, test=not no_test), as_json=as_json)


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
    run(context, partial(accounts.remove, which), as_json=as_json)
