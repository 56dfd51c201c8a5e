"""How the command line comes to a command: its settings loaded, its errors told in plain words."""

import os
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import anyio
import typer

from emailsync import logs
from emailsync.collector import spare_what_is_there
from emailsync.commands.output import Answer, CommandFailed, ExitCode, plain_errors
from emailsync.config import Settings
from emailsync.settings_file import load

Choice = TypeVar("Choice", bound=StrEnum)
Command = Callable[[Settings, Answer], Awaitable[int]]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")]


def utf8(text: str | None) -> str | None:
    """Refuse an argument whose bytes are no text: no database takes it."""
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("it is not UTF-8") from None
    return text


def choice(choices: type[Choice], *names: str, text: str) -> Any:
    """Return the option that takes one of the choices, and says in plain words what is none.

    Args:
        choices: their values are what is typed.
        names: of the option, if not the parameter's.
        text: what it is for.
    """

    def read(given: str) -> Choice:
        try:
            return choices(given)
        except ValueError:
            raise typer.BadParameter(f"{given!r} is not one of {', '.join(choices)}") from None

    return typer.Option(*names, metavar=f"<{'|'.join(choices)}>", parser=read, help=text)


def run(
    context: typer.Context, command: Command, *, as_json: bool, verbose: bool = False
) -> NoReturn:
    """Run a command on the settings; it speaks on stdout, and on stderr only of what goes wrong."""
    answer = Answer(as_json=as_json)
    with plain_errors(answer):
        settings = load(given(context.obj), os.environ)
        level = settings.logging.level if verbose else "warning"
        logs.configure(level=level, form=settings.logging.format)
        code = run_async(command, settings, answer)
    raise typer.Exit(code)


def run_async(function: Callable[..., Awaitable[int]], *arguments: object) -> int:
    """Run an async function on a fresh event loop; return what it returns."""
    spare_what_is_there()
    return anyio.run(function, *arguments, backend_options={"use_uvloop": True})


def given(config: Path | None) -> Path:
    """Return the settings file.

    Raises:
        CommandFailed: none was named.
    """
    if config is None:
        raise CommandFailed(
            "--config FILE is missing, before the command; config.example.toml shows every setting",
            ExitCode.USAGE,
        )
    return config
