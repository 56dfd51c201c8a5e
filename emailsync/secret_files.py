"""Where the settings' secrets come from: the credentials' keys, the pages' tokens, the password.

What lies in the state directory is made at the first start; a file that the settings name is the
operator's and is never made for them.
"""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from emailsync.config import Settings
from emailsync.crypto import (
    KeyRing,
    Secret,
    SecretFileError,
    create_secret_file,
    generate_key_file,
    read_secret_file,
)

TOKEN_BYTES: Final = 32


def open_key_ring(settings: Settings) -> KeyRing:
    """Return the keys that the stored credentials are encrypted under.

    Raises:
        SecretFileError: naming the settings' key.
    """
    path = settings.credentials.key_file
    assert path is not None, "settings come from the loader"
    try:
        _make_ours(settings, path, generate_key_file)
        return KeyRing.load(path)
    except SecretFileError as exc:
        raise SecretFileError(f"credentials.key_file: {exc}") from exc


def open_tokens(settings: Settings) -> Sequence[Secret]:
    """Return the bearer tokens of the HTTP pages.

    Raises:
        SecretFileError: naming the settings' key.
    """
    path = settings.http.token_file
    assert path is not None, "settings come from the loader"
    try:
        _make_ours(settings, path, _generate_token_file)
        lines = read_secret_file(path).split()
    except SecretFileError as exc:
        raise SecretFileError(f"http.token_file: {exc}") from exc
    if not lines:
        raise SecretFileError(f"http.token_file: {path} holds no token; write one a line")
    return [Secret(line) for line in lines]


def open_database_password(settings: Settings) -> Secret | None:
    """Return the password that the database's URL leaves to a file, if it does.

    Raises:
        SecretFileError: naming the settings' key.
    """
    path = settings.database.password_file
    if path is None:
        return None
    try:
        return Secret(read_secret_file(path).rstrip("\r\n"))
    except SecretFileError as exc:
        raise SecretFileError(f"database.password_file: {exc}") from exc


def _make_ours(settings: Settings, path: Path, generate: Callable[[Path], None]) -> None:
    if path.parent != settings.state_dir or path.exists():
        return
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise SecretFileError(f"{settings.state_dir} cannot be made: {exc.strerror}") from exc
    generate(path)


def _generate_token_file(path: Path) -> None:
    create_secret_file(path, secrets.token_urlsafe(TOKEN_BYTES) + "\n")
