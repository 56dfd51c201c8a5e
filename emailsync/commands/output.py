"""How a command answers: a table for people or JSON for scripts on stdout, errors on stderr.

Whatever came from outside, such as a folder's name or a server's error, is shown so that it
steers no terminal. The exit codes are part of the outside contract.
"""

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from enum import IntEnum
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from emailsync.crypto import SecretError
from emailsync.domain.errors import SyncError
from emailsync.logs import printable, shown_time
from emailsync.settings_file import ConfigInvalid

WIDTH_OF_A_PIPE = 200  #: nobody wraps lines there


class ExitCode(IntEnum):
    """What a script can tell from the exit."""

    OK = 0
    FAILED = 1
    USAGE = 2  #: wrong usage or invalid settings
    INCOMPLETE = 3  #: some accounts could not be synced


class CommandFailed(Exception):
    """The command cannot do what was asked; the message is for the person who asked."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code


class Answer:
    """Writes one command's answer to stdout, in the form that was asked for."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._is_pipe = not sys.stdout.isatty()
        width = WIDTH_OF_A_PIPE if self._is_pipe else None
        self._console = Console(width=width, highlight=False, soft_wrap=True)

    @property
    def width(self) -> int:
        """How many columns a line may have."""
        return self._console.width

    def say(self, line: str, **facts: Any) -> None:
        """Say one line; scripts get the facts."""
        if self.as_json:
            self._print_json(facts)
        else:
            self._console.print(Text(printable(line)))

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        *,
        whole: Collection[str] = (),
    ) -> None:
        """Show the rows; people see `columns` of them, those in `whole` never broken.

        Scripts see everything.
        """
        if self.as_json:
            self._print_json(rows)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            cells = [Text(_shown(row.get(column))) for row in rows]
            longest = max((cell.cell_len for cell in cells), default=0)
            is_whole = column in whole
            table.add_column(
                column.replace("_", " "),
                overflow="fold",
                no_wrap=is_whole,
                min_width=longest if is_whole else None,
            )
        for row in rows:
            table.add_row(*(Text(_shown(row.get(column))) for column in columns))
        self._print_table(table)

    def facts(self, facts: Mapping[str, Any]) -> None:
        """Show one thing as names and values."""
        if self.as_json:
            self._print_json(facts)
            return
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in facts.items():
            table.add_row(name.replace("_", " "), Text(_shown(value)))
        self._print_table(table)

    def _print_table(self, table: Table) -> None:
        """Print a table; where nobody looks without the blanks that fill its last column."""
        if not self._is_pipe:
            self._console.print(table)
            return
        with self._console.capture() as captured:
            self._console.print(table)
        for line in captured.get().splitlines():
            sys.stdout.write(line.rstrip() + "\n")

    def _print_json(self, value: object) -> None:
        sys.stdout.write(json.dumps(value, default=_as_json, indent=2) + "\n")


@contextmanager
def plain_errors(answer: Answer | None = None) -> Iterator[None]:
    """Turn what a person can act on into one clear line a problem and an exit code.

    Scripts that asked for JSON get the problems of the settings in their `answer` too.
    Anything else is a bug and keeps its traceback.
    """
    try:
        yield
    except Exception as raised:
        error = _innermost(raised)
        match error:
            case ConfigInvalid():
                code, lines = ExitCode.USAGE, [str(problem) for problem in error.problems]
                if answer is not None and answer.as_json:
                    answer.facts({"problems": [asdict(problem) for problem in error.problems]})
            case CommandFailed():
                code, lines = error.code, [str(error)]
            case SecretError():
                code, lines = ExitCode.USAGE, [str(error)]
            case SyncError():
                code, lines = ExitCode.FAILED, [str(error)]
            case _:
                raise
        complain(*lines)
        raise typer.Exit(code) from None


def _innermost(error: Exception) -> Exception:
    """Return the one error that a task group wrapped; several at once are left as they are."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def complain(*lines: str) -> None:
    """Say on stderr what is wrong."""
    for line in lines:
        sys.stderr.write(f"emailsyncd: {printable(line)}\n")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return shown_time(value)
    if isinstance(value, Mapping):
        told = {name: each for name, each in value.items() if each not in (None, "", 0)}
        return ", ".join(f"{name.replace('_', ' ')} {_shown(each)}" for name, each in told.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(_shown(each) for each in value) or "-"
    return printable(str(value))


def _as_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
