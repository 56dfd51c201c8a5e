"""What a person at a terminal meets before any database or server is spoken to."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from rich.text import Text

from daemon import COMMAND
from emailsync.commands.accounts import LISTED_NARROW
from emailsync.commands.logins import is_sent_in_clear
from emailsync.commands.output import Answer

SECRET = "correct horse"
ADD = ("account", "add", "--tenant", "a", "--type", "imap", "--email", "a@b", "--host", "h")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a terminal so wide that no text takes two lines."""
    wide = {**os.environ, "COLUMNS": "300"}
    return subprocess.run(
        [COMMAND, *words], capture_output=True, text=True, check=False, input="", env=wide
    )


@pytest.mark.parametrize("words", [ADD, ("account", "resume", "a@b")])
def test_a_password_is_asked_for_on_stderr_and_not_echoed(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    terminal, inside = pty.openpty()
    try:
        with subprocess.Popen(
            [COMMAND, "--config", tmp_path / "none.toml", *words, "--password-stdin"],
            stdin=inside,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            prompt = os.read(process.stderr.fileno(), 100)
            os.write(terminal, f"{SECRET}\n".encode())
            told = process.stderr.read()
            said = process.stdout.read()
        os.set_blocking(terminal, False)
        try:
            echoed = os.read(terminal, 1000)
        except BlockingIOError:
            echoed = b""
    finally:
        os.close(terminal)
        os.close(inside)

    assert prompt == b"Secret (it is not shown): "
    assert b"none.toml: cannot be read" in told
    assert SECRET.encode() not in prompt + told + said + echoed


def test_invalid_settings_are_told_in_json_when_that_was_asked_for(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[email_sync]\nbatch_size = 0\n")

    checked = run("--config", str(config), "check", "--json")

    (problem,) = json.loads(checked.stdout)["problems"]
    assert checked.returncode == 2
    assert problem["key"] == "email_sync.batch_size"
    assert "should be greater" in problem["message"]


def test_the_help_says_that_the_daemon_runs_without_a_command() -> None:
    assert "Without a command it runs the daemon in the foreground." in run("--help").stdout


@pytest.mark.parametrize(
    ("words", "choices"),
    [
        ((*ADD, "--password-stdin", "--security", "foo"), "tls, starttls, none"),
        ((*ADD, "--password-stdin", "--type", "foo"), "imap, google, microsoft"),
        (("simulate", "--tenants", "1", "--type", "foo"), "imap, google, microsoft"),
        (("simulate", "--tenants", "1", "--type", "imap", "--type", "foo"), "imap, google"),
    ],
)
def test_a_wrong_choice_is_told_with_the_right_ones(words: tuple[str, ...], choices: str) -> None:
    refused = run(*words)

    assert refused.returncode == 2
    assert f"'foo' is not one of {choices}" in refused.stderr
    assert "Value error" not in refused.stderr


@pytest.mark.parametrize(
    ("host", "security", "is_clear"),
    [
        ("mail.example.test", "none", True),
        ("192.0.2.1", "none", True),
        ("mail.example.test", "starttls", False),
        ("localhost", "none", False),
        ("127.0.0.2", "none", False),
        ("::1", "none", False),
    ],
)
def test_a_password_is_in_clear_without_tls_beyond_this_machine(
    host: str, security: str, *, is_clear: bool
) -> None:
    assert is_sent_in_clear({"host": host, "security": security}) == is_clear


def account_row(email: str) -> dict[str, str]:
    return {
        "email_address": email,
        "tenant_id": "a-tenant-with-a-name",
        "status": "needs_reconnect",
        "priority": "critical",
        "next_sync_at": "2026-01-02 10:00:00 UTC",
    }


def test_a_narrow_terminal_shows_whole_addresses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    email = "somebody.with.a.long.name@mail.example.test"
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    answer = Answer(as_json=False)
    answer.table(LISTED_NARROW, [account_row(email)], whole=("email_address",))
    lines = Text.from_ansi(capsys.readouterr().out).plain.splitlines()

    assert answer.width == 80
    assert any(email in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_pipe_gets_no_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    Answer(as_json=False).table(("a", "b"), [{"a": "x", "b": "long " * 100}, {"a": "y", "b": "z"}])

    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("token", "add"), "How long it is good for; by default for ever."),
        (("simulate",), "What the accounts are, in turns; may be repeated; by default all types."),
    ],
)
def test_the_help_says_what_holds_by_default(command: tuple[str, ...], told: str) -> None:
    """Words in square brackets are markup to the terminal's library, which swallowed them."""
    shown = " ".join(run(*command, "--help").stdout.replace("│", " ").split())

    assert told in shown


def test_a_tenants_token_without_its_tenant_is_told_what_to_add() -> None:
    done = run("--config", "none.toml", "token", "add", "x", "--scope", "tenant")

    assert done.returncode == 2
    assert "--scope tenant takes --tenant ID" in done.stderr
