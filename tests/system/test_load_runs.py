"""A small load run: it says and draws what it measured, and takes everything with it at its end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from process_usage import family

TESTS = Path(__file__).parents[1]
GONE_WITHIN_S = 30.0


def started(*words: str) -> subprocess.Popen[str]:
    """Start a run of three tenants."""
    return subprocess.Popen(
        [sys.executable, TESTS / "bench/load.py", "mixed", "--tenants", "3", *words],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_load_run_prints_and_draws_what_came_out(tmp_path: Path) -> None:
    with started("--json", "--plot", str(tmp_path)) as run:
        output, progress = run.communicate(timeout=100)

    assert run.returncode in {0, 1}, progress  # a busy machine may miss a target
    result = json.loads(output)
    [cycle] = result["rounds"]
    assert cycle["cycle_s"] > 0
    assert {name: kind["synced"] for name, kind in cycle["types"].items()} == {
        "imap": 2,
        "google": 2,
        "microsoft": 2,
    }
    assert result["throttled"] == 0
    assert (tmp_path / "mixed.svg").read_text().startswith("<svg")


def test_a_load_run_that_is_stopped_leaves_no_process() -> None:
    with started() as run:
        assert run.stderr is not None
        while "everything is due" not in run.stderr.readline():
            assert run.poll() is None
        everybody = family(run.pid)

        run.send_signal(signal.SIGTERM)

        run.communicate(timeout=60)
    give_up_at = time.monotonic() + GONE_WITHIN_S
    assert len(everybody) > 4
    while any(Path(f"/proc/{pid}").exists() for pid in everybody):
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
