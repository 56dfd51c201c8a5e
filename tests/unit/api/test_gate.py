"""The limit of a token counts whatever costs a look into the database."""

from collections.abc import Collection
from datetime import timedelta

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import Response

from clock import SettableClock
from emailsync.api.auth import BURST_S, KNOWN_FOR_S, WRONG_AT_ONCE, WRONG_EVERY_S, Gate
from emailsync.api.problems import Refused
from emailsync.api.sessions import Sessions
from emailsync.domain.access import Grant, Scope

PER_S = 2
TOGETHER = 200
SHOWN = b"the hash of a token"


class Tokens:
    """What the database knows, and how often it was asked."""

    def __init__(self, *known: bytes) -> None:
        self.known = set(known)
        self.grant = Grant(Scope.ADMIN)
        self.asked = 0
        self.listed = 0

    async def find(self, shown: bytes) -> Grant | None:
        self.asked += 1
        return self.grant if shown in self.known else None

    async def hashes(self) -> Collection[bytes]:
        self.listed += 1
        return frozenset(self.known)


class TokensThatWait(Tokens):
    """Looks one up when so many wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.all_ask = anyio.Event()

    async def find(self, shown: bytes) -> Grant | None:
        grant = await super().find(shown)
        if self.asked == TOGETHER:
            self.all_ask.set()
        await self.all_ask.wait()
        return grant


def gate_of(tokens: Tokens, clock: SettableClock, sessions: Sessions | None = None) -> Gate:
    sessions = sessions or Sessions(clock, is_secure=False)
    return Gate([], tokens.find, tokens.hashes, clock, sessions, requests_per_s=PER_S)


def request(**headers: str) -> Request:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "headers": sent})


async def test_a_session_of_a_removed_token_is_limited_as_the_token_was(
    clock: SettableClock,
) -> None:
    tokens, sessions, response = Tokens(), Sessions(clock, is_secure=False), Response()
    gate = gate_of(tokens, clock, sessions)
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
    tokens = TokensThatWait()
    gate = gate_of(tokens, clock)

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
    tokens = Tokens(SHOWN)
    gate = gate_of(tokens, clock)
    for _ in range(BURST_S * PER_S):
        await gate.grant_for(SHOWN, request())

    with pytest.raises(Refused) as refused:
        await gate.grant_for(SHOWN, request())

    assert refused.value.status == 429
    assert tokens.asked == BURST_S * PER_S


async def test_no_guesses_put_off_a_token_that_is_right_and_new(clock: SettableClock) -> None:
    """Behind a proxy all tenants have one address, and one of them may guess for ever."""
    tokens = Tokens(SHOWN)
    gate = gate_of(tokens, clock)
    statuses = []

    async def guess(number: int) -> None:
        with pytest.raises(Refused) as refused:
            await gate.grant_for(b"guess %d" % number, request())
        statuses.append(refused.value.status)

    for number in range(100):
        await guess(number)
    grant = await gate.grant_for(SHOWN, request())
    tokens.known.add(b"made now")
    clock.advance(timedelta(seconds=KNOWN_FOR_S))
    await guess(100)

    assert grant == await gate.grant_for(b"made now", request()) == tokens.grant
    assert statuses == [401] * WRONG_AT_ONCE + [429] * 91
    assert tokens.listed == 2
