"""What the tests of the API share."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api_rig import ApiRig, api_rig
from connect_rig import ConnectRig, connect_rig


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[ApiRig]:
    """The API before a database with one account.

    It is held by a task of its own: the two halves of a fixture are run by different ones.
    """
    opened: asyncio.Future[ApiRig] = asyncio.get_running_loop().create_future()
    is_over = asyncio.Event()

    async def hold() -> None:
        async with api_rig(database_url) as rig:
            opened.set_result(rig)
            await is_over.wait()

    holder = asyncio.get_running_loop().create_task(hold())
    await asyncio.wait([opened, holder], return_when=asyncio.FIRST_COMPLETED)
    if not opened.done():
        await holder
    yield opened.result()
    is_over.set()
    await holder


@pytest.fixture
async def connecting(api: ApiRig, tmp_path: Path) -> AsyncIterator[ConnectRig]:
    """The API, registered with the emulated issuers, and a person with a browser."""
    async with connect_rig(api, tmp_path) as rig:
        yield rig
