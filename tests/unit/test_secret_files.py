"""Secrets of our own are made once; the operator's are only read."""

from pathlib import Path

import pytest

from emailsync.config import Settings
from emailsync.crypto import SecretFileError
from emailsync.secret_files import open_key_ring, open_tokens
from emailsync.settings_file import load


def settings_of(tmp_path: Path, text: str = "") -> Settings:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load(path, {"STATE_DIRECTORY": str(tmp_path / "state")})


def test_the_first_start_makes_a_key_and_a_token_and_the_next_one_finds_them(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path)

    first = open_key_ring(settings).newest, open_tokens(settings)[0]
    again = open_key_ring(settings).newest, open_tokens(settings)[0]

    assert first == again
    assert len(first[1].reveal()) == 43
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()}
    assert modes == {"credentials.key": 0o600, "http-token": 0o600}


def test_a_file_that_the_settings_name_is_never_made(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, "[credentials]\nkey_file = 'no-key'\n[http]\ntoken_file = 'no-token'"
    )

    with pytest.raises(SecretFileError, match=r"credentials\.key_file: .* No such file"):
        open_key_ring(settings)
    with pytest.raises(SecretFileError, match=r"http\.token_file: .* No such file"):
        open_tokens(settings)


def test_a_token_file_holds_one_token_a_line(tmp_path: Path) -> None:
    token_file = tmp_path / "tokens"
    token_file.write_text("first\n\nsecond\n")
    token_file.chmod(0o600)
    settings = settings_of(tmp_path, "[http]\ntoken_file = 'tokens'")

    tokens = [token.reveal() for token in open_tokens(settings)]

    assert tokens == ["first", "second"]


def test_an_empty_token_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokens").touch(mode=0o600)

    with pytest.raises(SecretFileError, match="holds no token"):
        open_tokens(settings_of(tmp_path, "[http]\ntoken_file = 'tokens'"))


def test_a_state_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "state").touch()

    with pytest.raises(SecretFileError, match=r"state cannot be made"):
        open_key_ring(settings_of(tmp_path))
