"""The unit is what systemd accepts, as tight as we say, and in step with the daemon."""

import re
import subprocess
from pathlib import Path

import pytest

from daemon import COMMAND
from emailsync.app import DEADLINE_S, GRACE_S
from emailsync.settings_file import CREDENTIALS, ENVIRONMENT
from unit_file import UNIT, service_settings

ROOT = Path(__file__).parents[2]
EXPOSURE_AT_MOST = 15  #: tenths: 1.5 of 10


@pytest.fixture
def unit_here(tmp_path: Path) -> Path:
    """The unit with the command where it is on this machine."""
    unit = tmp_path / UNIT.name
    unit.write_text(
        UNIT.read_text().replace("ExecStart=/usr/local/bin/emailsyncd", f"ExecStart={COMMAND}")
    )
    assert COMMAND in unit.read_text()
    return unit


def analyzed(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_systemd_finds_nothing_wrong_with_the_unit(unit_here: Path) -> None:
    verified = analyzed("verify", "--man=no", unit_here)

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_the_unit_is_exposed_no_more_than_we_say(unit_here: Path) -> None:
    rated = analyzed("security", "--offline=true", f"--threshold={EXPOSURE_AT_MOST}", unit_here)

    assert rated.returncode == 0, rated.stdout


def test_a_threshold_that_the_unit_cannot_meet_is_noticed(unit_here: Path) -> None:
    """Otherwise the test above would prove nothing."""
    rated = analyzed("security", "--offline=true", "--threshold=5", unit_here)

    assert rated.returncode != 0


def test_systemd_waits_longer_than_the_daemon_may_take_to_stop() -> None:
    (timeout_s,) = service_settings()["TimeoutStopSec"]

    assert GRACE_S < DEADLINE_S < int(timeout_s)


def test_the_example_names_every_variable_and_nothing_else() -> None:
    text = (ROOT / "systemd" / "emailsyncd.env.example").read_text()

    named = re.findall(r"^# ([A-Z_]+)=", text, re.MULTILINE)

    assert sorted(named) == sorted(ENVIRONMENT)


def test_every_secret_of_the_example_settings_is_handed_over() -> None:
    text = (ROOT / "config.example.toml").read_text()
    wanted = set(re.findall(re.escape(f'"{CREDENTIALS}') + r'([^"]+)"', text))

    assert wanted == set(service_settings()["LoadCredential"])
