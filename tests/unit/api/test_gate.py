"""The limit of a token counts whatever costs a look into the database."""

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import Response

from clock import SettableClock
from emailsync.api.auth import BURST_S, WRONG_EVERY_S, Gate
from emailsync.api.problems import Refused
from emailsync.api.sessions import Sessions
from emailsync.domain.access import Grant, Scope

PER_S = 2
TOGETHER = 200
SHOWN = b"the hash of a token"


class Tokens:
    """What the database knows, and how often it was asked."""

    def __init__(self, grant: Grant | None) -> None:
        self.grant = grant
        self.asked = 0

    async def find(self, _shown: bytes) -> Grant | None:
        self.asked += 1
        return self.grant


def request(**headers: str) -> Request:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "headers": sent})


async def test_a_session_of_a_removed_token_is_limited_as_the_token_was(
    clock: SettableClock,
) -> None:
    tokens, sessions, response = Tokens(None), Sessions(clock, is_secure=False), Response()
    gate = Gate([], tokens.find, clock, sessions, requests_per_s=PER_S)
    sessions.begin(SHOWN, response)
    browser = request(cookie=response.headers["set-cookie"].partition(";")[0])
    statuses = []

    for _ in range(BURST_S * PER_S + 5):
        with pytest.raises(Refused) as refused:
            await gate.grant_of(browser)
        statuses.append(refused.value.status)

    assert statuses == [401] * BURST_S * PER_S + [429] * 5
    assert tokens.asked == BURST_S * PER_S


async def test_guesses_made_together_lock_an_address_out_no_longer_than_others(
    clock: SettableClock,
) -> None:
    """All of them are looked up before the first one is found wrong."""
    all_ask, looked_up = anyio.Event(), 0

    async def find(_shown: bytes) -> Grant | None:
        nonlocal looked_up
        looked_up += 1
        if looked_up == TOGETHER:
            all_ask.set()
        await all_ask.wait()
        return None

    gate = Gate([], find, clock, Sessions(clock, is_secure=False), requests_per_s=PER_S)

    async def guess(shown: bytes) -> Refused:
        with pytest.raises(Refused) as refused:
            await gate.grant_for(shown, request())
        return refused.value

    async with anyio.create_task_group() as group:
        for number in range(TOGETHER):
            group.start_soon(guess, b"guess %d" % number)
    put_off = await guess(b"one more")

    assert put_off.headers["Retry-After"] == str(round(WRONG_EVERY_S))


async def test_logging_in_counts_for_the_token(clock: SettableClock) -> None:
    """A program that logs in for ever asks the database no more often than one that reads."""
    tokens = Tokens(Grant(Scope.ADMIN))
    gate = Gate([], tokens.find, clock, Sessions(clock, is_secure=False), requests_per_s=PER_S)
    for _ in range(BURST_S * PER_S):
        await gate.grant_for(SHOWN, request())

    with pytest.raises(Refused) as refused:
        await gate.grant_for(SHOWN, request())

    assert refused.value.status == 429
    assert tokens.asked == BURST_S * PER_S
