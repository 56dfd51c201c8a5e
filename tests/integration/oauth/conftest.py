"""The emulated issuers for the tests of this folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from oauth_rig import OAuthRig, running_issuers


@pytest.fixture
async def rig(tmp_path: Path, loop_guard: None) -> AsyncIterator[OAuthRig]:
    """Issuers on a real socket, and the tokens of a daemon whose event loop must not be held up."""
    async with running_issuers(tmp_path) as rig:
        yield rig
