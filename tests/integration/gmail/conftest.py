"""The Gmail account of these tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gmail_account import GmailAccount, gmail_account


@pytest.fixture
async def account(database_url: str, tmp_path: Path) -> AsyncIterator[GmailAccount]:
    """An account of an empty mailbox, without quotas."""
    async with gmail_account(database_url, tmp_path / "keys") as account:
        yield account
