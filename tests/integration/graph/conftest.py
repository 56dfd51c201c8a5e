"""Accounts of the emulated Graph, with and without the messages' own bytes kept."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emailsync.config import StoreSettings
from graph_account import GraphAccount, graph_account


@pytest.fixture(params=[True, False], ids=["raw", "no raw"])
async def account(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> AsyncIterator[GraphAccount]:
    """An account of a mailbox with thirty messages in a dozen folders, not yet synced."""
    store = StoreSettings(raw=request.param)
    async with graph_account(database_url, tmp_path / "keys", messages=30, store=store) as account:
        yield account
