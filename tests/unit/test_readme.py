"""What the README tells a newcomer to paste is what continuous integration runs."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readmes_second_command_is_the_one_that_ci_runs() -> None:
    commands = re.findall(r"```sh\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    assert "emailsyncd demo" in commands[0]
    assert commands[1] == (ROOT / ".ci/run").read_text().splitlines()[-1] + "\n"
