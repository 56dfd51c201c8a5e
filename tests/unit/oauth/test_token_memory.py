"""Credentials in memory: a renewal is never cut short, and never waited for without end."""

from collections.abc import Mapping

import anyio
import pytest

from emailsync.crypto import Secret
from emailsync.domain.errors import Retryable
from emailsync.providers.oauth.token_memory import RENEWAL_S, TokenMemory
from emailsync.simulation.virtual_time import run_virtually

Credentials = Mapping[str, Secret]


async def a_silent_issuer(_: Credentials) -> Credentials:
    await anyio.sleep_forever()
    raise AssertionError


async def an_issuer(_: Credentials) -> Credentials:
    await anyio.sleep(5)
    return {"access_token": Secret("new")}


def test_a_renewal_without_an_answer_is_given_up_and_the_next_one_has_its_turn() -> None:
    async def run() -> None:
        memory = TokenMemory()
        with pytest.raises(Retryable, match="in time"):
            await memory.renew("app", a_silent_issuer)
        assert anyio.current_time() == RENEWAL_S
        assert await memory.renew("app", an_issuer) == {"access_token": Secret("new")}

    run_virtually(run())


def test_who_is_cancelled_meanwhile_keeps_what_the_issuer_answers() -> None:
    async def run() -> None:
        memory = TokenMemory()
        with anyio.move_on_after(1):
            await memory.renew("app", an_issuer)
        assert memory.held("app") == {"access_token": Secret("new")}

    run_virtually(run())
