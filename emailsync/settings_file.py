"""From a TOML file and the environment to one valid `Settings`, or to all that is wrong with it.

Knows files and variables; what a key means and which values it takes is the model's business.
Relative paths are relative to the settings file, so the daemon may start anywhere, and those of
secrets may lie where systemd hands credentials over (systemd.exec(5), LoadCredential=).
"""

import difflib
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from emailsync.config import Settings

KeyPath = tuple[str, ...]
LIVE_SECTIONS: Final = frozenset({"limits", "intervals", "queues", "circuit_breaker", "logging"})
LIVE_KEYS: Final = frozenset(
    ("email_sync", key) for key in ("enabled", "cron", "batch_size", "stagger_ms")
)
TRUE: Final = frozenset({"1", "true", "yes", "on"})
FALSE: Final = frozenset({"0", "false", "no", "off"})
SHOWN_AT_MOST: Final = 60  #: characters of a refused value
NEVER_SHOWN: Final = frozenset({("database", "url")})  #: may hold a password
CREDENTIALS: Final = "$CREDENTIALS_DIRECTORY/"  #: a path may begin so
CREDENTIAL_STORE: Final = "/etc/credstore"
"""Where systemd takes credentials from, so that root's commands find what the daemon is given."""
FILES: Final[Sequence[KeyPath]] = (
    ("email_sync", "state_dir"),
    ("database", "password_file"),
    ("http", "token_file"),
    ("credentials", "key_file"),
    ("imap", "ca_file"),
    ("oauth", "google", "client_secret_file"),
    ("oauth", "google", "service_account_file"),
    ("oauth", "microsoft", "client_secret_file"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct."""

    key: str  #: dotted path, or the environment variable, or the file
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


class ConfigInvalid(Exception):
    """The settings cannot be used; every problem is listed, none was guessed around."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def _to_bool(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered not in TRUE | FALSE:
        raise ValueError("should be true or false")
    return lowered in TRUE


def _to_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("should be a whole number") from None


def _to_text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


ENVIRONMENT: Final[Mapping[str, tuple[KeyPath, Callable[[str], object]]]] = {
    "EMAIL_SYNC_ENABLED": (("email_sync", "enabled"), _to_bool),
    "EMAIL_SYNC_CRON": (("email_sync", "cron"), _to_text),
    "EMAIL_SYNC_BATCH_SIZE": (("email_sync", "batch_size"), _to_int),
    "EMAIL_SYNC_STAGGER_MS": (("email_sync", "stagger_ms"), _to_int),
    "EMAIL_SYNC_DATABASE_URL": (("database", "url"), _to_text),
    "IMAP_CONCURRENT_MAX": (("limits", "imap", "concurrent"), _to_int),
    "GMAIL_CONCURRENT_MAX": (("limits", "google", "concurrent"), _to_int),
    "MICROSOFT_CONCURRENT_MAX": (("limits", "microsoft", "concurrent"), _to_int),
    "CIRCUIT_BREAKER_THRESHOLD": (("circuit_breaker", "threshold"), _to_int),
    "CIRCUIT_BREAKER_TIMEOUT": (("circuit_breaker", "timeout_ms"), _to_int),
}


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the settings: defaults, under the file, under the environment.

    A variable that is set to nothing counts as not set.

    Raises:
        ConfigInvalid: with every problem, each named by its key or its variable.
    """
    merged = Settings().model_dump(mode="json")
    _lay_over(merged, _read(path))
    sources, problems = _apply_environment(merged, environ)
    problems += _missing_key_file(merged)
    try:
        # Strict, so "5" is no number; by way of JSON, which has strings for paths and no tuples.
        settings = Settings.model_validate_json(json.dumps(merged, default=str), strict=True)
    except ValidationError as exc:
        problems += [_explained(error, sources) for error in exc.errors(include_url=False)]
        raise ConfigInvalid(problems) from None
    if problems:
        raise ConfigInvalid(problems)
    return _with_places(settings, path.parent.absolute(), environ)


def load_again(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the settings of a running daemon once more.

    A file of nothing would be valid and mean the defaults; here it is one that is being written.

    Raises:
        ConfigInvalid: as `load`.
    """
    if not _read(path):
        raise ConfigInvalid([Problem(str(path), "holds no settings; is it still being written?")])
    return load(path, environ)


def restart_needed(old: Settings, new: Settings) -> Sequence[str]:
    """Return the keys that differ and that a reload does not change."""
    return [".".join(key) for key in _changed(old, new) if not _is_live(key)]


def live_changes(old: Settings, new: Settings) -> Sequence[str]:
    """Return the keys that differ and that a reload puts in force."""
    return [".".join(key) for key in _changed(old, new) if _is_live(key)]


def with_live_keys(old: Settings, new: Settings) -> Settings:
    """Return the old settings with everything of the new ones that a reload may change."""
    values = old.model_dump()
    for key, value in _leaves(new.model_dump()):
        if _is_live(key):
            _set_at(values, key, value)
    return Settings.model_validate(values)


def _changed(old: Settings, new: Settings) -> Sequence[KeyPath]:
    before = old.model_dump()
    return sorted(
        key for key, value in _leaves(new.model_dump()) if _value_at(before, key) != value
    )


def _is_live(key: KeyPath) -> bool:
    return key[0] in LIVE_SECTIONS or key in LIVE_KEYS


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as exc:
        raise ConfigInvalid([Problem(str(path), f"cannot be read: {exc.strerror}")]) from None
    except (ValueError, RecursionError) as exc:
        raise ConfigInvalid([Problem(str(path), f"is not valid TOML: {exc}")]) from None


def _lay_over(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Put the file's keys over the defaults, so a section may name only what it changes."""
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(key), dict):
            _lay_over(under[key], value)
        else:
            under[key] = value


def _apply_environment(
    values: dict[str, Any], environ: Mapping[str, str]
) -> tuple[dict[KeyPath, str], list[Problem]]:
    """Put the variables in; return which key each one set, and those that cannot be read."""
    sources: dict[KeyPath, str] = {}
    problems = []
    for variable, (key, convert) in ENVIRONMENT.items():
        text = environ.get(variable, "")
        if not text:
            continue
        try:
            value = convert(text)
        except ValueError as exc:
            problems.append(Problem(variable, str(exc) + _shown(key, text)))
        else:
            sources[key] = variable
            _set_at(values, key, value)
    return sources, problems


def _explained(error: ErrorDetails, sources: Mapping[KeyPath, str]) -> Problem:
    key = tuple(str(part) for part in error["loc"])
    name = sources.get(key, ".".join(key))
    if error["type"] == "extra_forbidden":
        return Problem(name, "unknown key" + _did_you_mean(key))
    if error["type"] == "model_type":
        return Problem(name, "should be a section, written [" + ".".join(key) + "]")
    message = error["msg"].removeprefix("Value error, ")
    if message.startswith("Input "):
        message = message.removeprefix("Input ") + _shown(key, error["input"])
    return Problem(name, message)


def _shown(key: KeyPath, value: object) -> str:
    """Repeat a refused value where that helps and hides nothing."""
    text = repr(value)
    if key in NEVER_SHOWN or isinstance(value, dict) or len(text) > SHOWN_AT_MOST:
        return ""
    return f", not {text}"


def _did_you_mean(key: KeyPath) -> str:
    close = difflib.get_close_matches(key[-1], _known_keys(key[:-1]), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _known_keys(section: KeyPath) -> Sequence[str]:
    model: type[BaseModel] = Settings
    for name in section:
        kind = model.model_fields[name].annotation
        assert isinstance(kind, type)
        assert issubclass(kind, BaseModel), "unknown keys are reported in sections only"
        model = kind
    return list(model.model_fields)


def _with_places(settings: Settings, base: Path, environ: Mapping[str, str]) -> Settings:
    """Make every path absolute and find the usual place of those that the file leaves open."""
    values = settings.model_dump()
    for key in FILES:
        given = _value_at(values, key)
        if given is not None:
            _set_at(values, key, base / _path(str(given), environ))
    state_dir = values["email_sync"]["state_dir"] or _usual_state_dir(environ)
    values["email_sync"]["state_dir"] = state_dir
    values["http"]["token_file"] = values["http"]["token_file"] or state_dir / "http-token"
    if values["credentials"]["key_file"] is None:
        values["credentials"]["key_file"] = state_dir / "credentials.key"
    return Settings.model_validate(values)


def _path(given: str, environ: Mapping[str, str]) -> Path:
    if given.startswith(CREDENTIALS):
        folder = environ.get("CREDENTIALS_DIRECTORY") or CREDENTIAL_STORE
        return Path(folder, given.removeprefix(CREDENTIALS))
    return Path(given).expanduser()


def _missing_key_file(values: Mapping[str, Any]) -> list[Problem]:
    """Ask for a key file where the data outlives this machine's state directory."""
    database, credentials = values["database"], values["credentials"]
    embedded = isinstance(database, dict) and database["url"] == "embedded"
    if embedded or credentials != {"key_file": None}:
        return []
    message = (
        "is needed with a database server of your own, and worth a backup; make one with: (umask"
        ' 077; echo "key-$(openssl rand -hex 4):$(openssl rand -base64 32)" > credentials.key)'
    )
    return [Problem("credentials.key_file", message)]


def _usual_state_dir(environ: Mapping[str, str]) -> Path:
    """Return what systemd prepared, else the place that the platform's customs name."""
    from_systemd = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if from_systemd:
        return Path(from_systemd)
    if os.geteuid() == 0:
        return Path("/var/lib/emailsyncd")
    xdg = environ.get("XDG_STATE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".local" / "state") / "emailsyncd"


def _leaves(values: Mapping[str, Any], above: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _value_at(values: Mapping[str, Any], key: KeyPath) -> Any:
    for part in key:
        values = values[part]
    return values


def _set_at(values: dict[str, Any], key: KeyPath, value: object) -> None:
    """Set a leaf; what should be a section and is none is left for the model to refuse."""
    section: Any = values
    for part in key[:-1]:
        section = section.get(part) if isinstance(section, dict) else None
    if isinstance(section, dict):
        section[key[-1]] = value
