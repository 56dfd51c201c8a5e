"""The one secret of an account, from stdin: arguments show in `ps`."""

import getpass
import sys

from emailsync.commands.new_account import option_of
from emailsync.commands.output import CommandFailed, ExitCode
from emailsync.crypto import Secret


def secret_on_stdin(needed: str | None, **given: bool) -> dict[str, Secret]:
    """Read the secret that an account has, under its name.

    Args:
        needed: its name; None: it has none.
        given: which secrets the command line says are on stdin.

    Raises:
        CommandFailed: another one is needed, or what is on stdin is none.
    """
    if {name for name, is_given in given.items() if is_given} != ({needed} - {None}):
        raise CommandFailed(f"this type of account takes {option_of(needed)}", ExitCode.USAGE)
    return {} if needed is None else {needed: _read(option_of(needed))}


def _read(option: str) -> Secret:
    try:
        secret = _line_of_stdin()
        secret.encode()
    except UnicodeError:
        raise CommandFailed(f"{option}: what is on stdin is not UTF-8", ExitCode.USAGE) from None
    if not secret:
        raise CommandFailed(f"{option}: there is nothing on stdin", ExitCode.USAGE)
    return Secret(secret)


def _line_of_stdin() -> str:
    """Read a line as it is: a space at its end may belong to it. A person is asked, unseen."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    try:
        return getpass.getpass("Secret (it is not shown): ", stream=sys.stderr)
    except EOFError:
        return ""
