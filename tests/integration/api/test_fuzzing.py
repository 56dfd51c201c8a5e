"""The API under requests that nobody thought of, made from its own OpenAPI document."""

from pathlib import Path

import pytest

from api_rig import ApiRig
from fuzzing import fuzz


@pytest.mark.timeout(300)
async def test_no_request_gets_an_undeclared_answer_or_breaks_the_daemon(
    api: ApiRig, tmp_path: Path
) -> None:
    """A thousand requests here; tests/bench/fuzz_api.py sends as many as one likes."""
    fuzzed = await fuzz(api, tmp_path, examples=10)

    assert fuzzed.returncode == 0, fuzzed.said
    assert fuzzed.requests >= 1_000
    assert not [status for status in fuzzed.statuses if status >= 500]
