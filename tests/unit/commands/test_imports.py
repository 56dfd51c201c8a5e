"""A command loads what it uses: everything else would cost it, and every script, a second."""

import subprocess
import sys

import pytest

SERVER = {"emailsync.app", "emailsync.api.server", "starlette", "uvicorn"}
SYNC = {"emailsync.scheduling", "emailsync.providers.registry", "httpx", "aioimaplib"}


@pytest.mark.parametrize(
    ("module", "unused"),
    [("emailsync.cli", SERVER | SYNC), ("emailsync.commands.syncing", SERVER)],
)
def test_a_command_leaves_alone_what_only_others_use(module: str, unused: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert module in (loaded := set(done.stdout.split()))
    assert not loaded & unused
