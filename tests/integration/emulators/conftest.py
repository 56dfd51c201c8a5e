"""The emulated Gmail of these tests."""

from collections.abc import AsyncIterator

import pytest

from gmail_wire import GmailOnTheWire, gmail_on_the_wire


@pytest.fixture
async def gmail() -> AsyncIterator[GmailOnTheWire]:
    """An emulated Gmail with an empty mailbox, and a client of it."""
    async with gmail_on_the_wire() as gmail:
        yield gmail
