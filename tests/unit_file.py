"""The systemd unit as the tests read it: its settings, and the groups of system calls it names."""

import subprocess
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

UNIT = Path(__file__).parents[1] / "systemd" / "emailsyncd.service"


def service_settings(unit: Path = UNIT) -> Mapping[str, Sequence[str]]:
    """Return the settings of [Service]; one that is given several times has several values."""
    settings: dict[str, list[str]] = {}
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            settings.setdefault(name, []).append(value)
    return settings


def allowed_calls(filters: Sequence[str]) -> Collection[str]:
    """Return the system calls that SystemCallFilter= lets through (systemd.exec(5))."""
    allowed = set(_members("@default"))
    for line in filters:
        for name in line.removeprefix("~").split():
            members = _members(name)
            allowed = allowed - members if line.startswith("~") else allowed | members
    return allowed


@cache
def _members(name: str) -> frozenset[str]:
    if not name.startswith("@"):
        return frozenset({name})
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.strip() for line in shown.splitlines() if line.startswith("    ")]
    return frozenset().union(*(_members(line) for line in lines if not line.startswith("#")))
