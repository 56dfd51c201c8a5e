"""The example file is documentation, so it is held against the model."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from emailsync.config import Settings
from emailsync.settings_file import ENVIRONMENT, load

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
COMMENTED_KEY = re.compile(r"^# (?=[a-z_]+ = )", re.MULTILINE)


def leaves(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def defaults() -> dict[str, Any]:
    return dict(leaves(Settings().model_dump(mode="json")))


def test_the_example_holds_every_key_with_its_default() -> None:
    written = dict(leaves(tomllib.loads(EXAMPLE.read_text())))

    assert written == {key: value for key, value in defaults().items() if value is not None}


def test_keys_without_a_default_are_shown_commented_with_a_valid_value() -> None:
    text = COMMENTED_KEY.sub("", EXAMPLE.read_text())

    shown = dict(leaves(tomllib.loads(text)))

    assert shown.keys() == defaults().keys()
    assert isinstance(Settings.model_validate(tomllib.loads(text)), BaseModel)


def test_the_example_is_valid_as_it_is(tmp_path: Path) -> None:
    settings = load(EXAMPLE, {"STATE_DIRECTORY": str(tmp_path)})

    assert settings.database.url == "embedded"
    assert settings.credentials.key_file == tmp_path / "credentials.key"


def test_every_variable_is_named_beside_its_key() -> None:
    text = EXAMPLE.read_text()

    assert all(variable in text for variable in ENVIRONMENT)
