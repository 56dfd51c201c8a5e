"""`emailsyncd simulate` from outside: it needs a settings file, and neither database nor server."""

import json
import subprocess
from pathlib import Path

from daemon import COMMAND


def simulate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    settings = folder / "config.toml"
    settings.write_text(f'[email_sync]\nenabled = false\nstate_dir = "{folder / "state"}"\n')
    return subprocess.run(
        [COMMAND, "--config", settings, "simulate", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_tells_people_and_scripts_the_same(tmp_path: Path) -> None:
    words = ("--tenants", "50", "--type", "imap", "--type", "google", "--hours", "1")

    shown = simulate(tmp_path, *words)
    facts = json.loads(simulate(tmp_path, *words, "--json").stdout)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "\\" not in shown.stdout
    assert "all 100 accounts synced once after " in shown.stdout
    assert "5 min: met" in shown.stdout
    assert "limits.google.concurrent" in shown.stdout
    assert facts["target_met"] is True
    assert facts["cycle"]["syncs"] >= 100
    assert f"bottleneck: {facts['cycle']['bottleneck']} = " in shown.stdout
    assert facts["after"]["duration_s"] == 3_600
    assert not (tmp_path / "state").exists()


def test_a_mix_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    for mix in ("1,2,3", "a,b,c,d", "0,0,0,0", "-1,0,0,101", "nan,0,0,1"):
        refused = simulate(tmp_path, "--tenants", "5", "--mix", mix)

        assert refused.returncode == 2
        assert refused.stderr.startswith("emailsyncd: --mix")
