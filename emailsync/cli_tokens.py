"""`emailsyncd token ...`: words to calls."""

from functools import partial
from typing import Annotated

import typer

from emailsync.commands import tokens
from emailsync.commands.invocation import Json, choice, run, utf8
from emailsync.commands.output import plain_errors
from emailsync.domain.access import Scope

token_app = typer.Typer(help="The bearer tokens of the HTTP API.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="What the token is called.", callback=utf8)]


@token_app.command("add")
def token_add(
    context: typer.Context,
    name: Name,
    *,
    scope: Annotated[
        Scope,
        choice(
            Scope, text="What it opens: everything, one tenant's accounts and mail, or the metrics."
        ),
    ],
    tenant: Annotated[
        str | None, typer.Option(help="The tenant of a tenant's token.", callback=utf8)
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, help="How long it is good for; by default for ever."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it: this once, since only its hash is kept."""
    with plain_errors():
        grant = tokens.grant_of(scope, tenant)
    run(context, partial(tokens.add, name, grant, days), as_json=as_json)


@token_app.command("list")
def token_list(context: typer.Context, *, as_json: Json = False) -> None:
    """List the tokens by name; the admin tokens of the token file are not among them."""
    run(context, tokens.list_all, as_json=as_json)


@token_app.command("remove")
def token_remove(context: typer.Context, name: Name, *, as_json: Json = False) -> None:
    """Remove a token; it opens nothing any more, at once and at every daemon."""
    run(context, partial(tokens.remove, name), as_json=as_json)
