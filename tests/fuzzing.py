"""schemathesis against the API: requests made from its own document, answers held against it."""

import asyncio
import json
import subprocess
import sysconfig
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from api_rig import ADMIN, ApiRig

COMMAND = f"{sysconfig.get_path('scripts')}/schemathesis"
CONFIG = '[parameters]\n"query.wait_s" = 0\n'  #: nobody has the time to wait for changes
LEFT_OUT = "positive_data_acceptance,ignored_auth"
"""No schema says which texts are cursors of ours, or which secret goes with which settings; and who
shows wrong tokens is put off after a few, where the check wants the same refusal each time."""


RETIRED = "^/email-config"
"""It answers any method, which no document can say; and always the same."""


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What a run was like."""

    returncode: int
    said: str
    statuses: Counter[int]

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return self.statuses.total()


async def fuzz(api: ApiRig, folder: Path, *, examples: int, seed: int = 1) -> Fuzzed:
    """Send up to `examples` requests an operation and phase; the answers must be declared ones."""
    report = folder / "requests.ndjson"
    (folder / "schemathesis.toml").write_text(CONFIG)
    words = (
        *("run", f"{api.url}/openapi.json", "--header", f"Authorization: Bearer {ADMIN}"),
        *("--checks", "all", "--exclude-checks", LEFT_OUT),
        *("--max-examples", str(examples), "--seed", str(seed)),
        *("--exclude-path-regex", RETIRED, "--continue-on-failure", "--no-color"),
        *("--generation-database", "none", "--suppress-health-check", "all", "--warnings", "off"),
        *("--report-ndjson-path", str(report), "--request-timeout", "30"),
    )
    process = await asyncio.create_subprocess_exec(
        COMMAND, *words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return Fuzzed(process.returncode, said.decode(), _statuses(report))


def _statuses(report: Path) -> Counter[int]:
    found: Counter[int] = Counter()
    for line in report.read_text().splitlines():
        found.update(_statuses_in(json.loads(line)))
    return found


def _statuses_in(event: object) -> list[int]:
    if isinstance(event, dict):
        status = event.get("status_code")
        own = [status] if isinstance(status, int) else []
        return own + [each for value in event.values() for each in _statuses_in(value)]
    if isinstance(event, list):
        return [each for value in event for each in _statuses_in(value)]
    return []
