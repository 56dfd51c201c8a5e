"""The account that every test of the contract is run with, once a provider."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from contract.account_under_test import AccountUnderTest
from contract.gmail_mailbox import gmail_mailbox
from contract.graph_mailbox import graph_mailbox
from contract.imap_mailbox import imap_mailbox
from dovecot import DovecotServer


@pytest.fixture(params=["imap", "gmail", "graph"])
async def account(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> AsyncIterator[AccountUnderTest]:
    """An account of a mailbox that has two folders of its own and no mail, not yet synced."""
    key_file = tmp_path / "keys"
    async with AsyncExitStack() as stack:
        if request.param == "imap":
            dovecot: DovecotServer = request.getfixturevalue("dovecot")
            mailbox = request.getfixturevalue("mailbox")
            imap, imap_rig = await stack.enter_async_context(
                imap_mailbox(mailbox, dovecot.port, database_url, key_file)
            )
            yield AccountUnderTest(imap_rig, imap)
        elif request.param == "gmail":
            gmail, gmail_rig = await stack.enter_async_context(
                gmail_mailbox(database_url, key_file)
            )
            yield AccountUnderTest(gmail_rig, gmail)
        else:
            graph, graph_rig = await stack.enter_async_context(
                graph_mailbox(database_url, key_file)
            )
            yield AccountUnderTest(graph_rig, graph)
