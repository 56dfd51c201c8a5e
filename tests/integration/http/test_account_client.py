"""One account's requests over real sockets: token, quota, and what a refusal leads to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import pytest

from emailsync.config import GoogleLimits, LimitsSettings, LiveSettings, Settings
from emailsync.crypto import Secret
from emailsync.domain.accounts import AccountId, AccountKey, ProviderType, TenantId
from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    QuotaSpent,
    ServerRefused,
    SyncError,
    Throttled,
    Unreachable,
)
from emailsync.ports import Account
from emailsync.providers.account_client import AccountClient, Refusal
from emailsync.providers.http_client import HttpClient
from emailsync.providers.http_messages import Answer, AnswerTooLarge, ApiRequest
from emailsync.providers.quota import ProjectThrottled, ProviderQuota, google_quota
from scripted_http import Exchange, Script, ScriptedServer, scripted

GET = ApiRequest("GET", "/gmail/v1/users/me/profile")


@dataclass
class Tokens:
    """A TokenSource whose renewals are numbered."""

    renewals: list[str] = field(default_factory=list)  #: what was rejected
    failure: SyncError | None = None

    async def current(self) -> Secret:
        if self.failure:
            raise self.failure
        return Secret(f"token-{len(self.renewals)}")

    async def renewed(self, rejected: Secret) -> Secret:
        self.renewals.append(rejected.reveal())
        return await self.current()


@dataclass
class Rig:
    """A server, and clients of it."""

    server: ScriptedServer
    http: HttpClient
    quota: ProviderQuota
    tokens: Tokens = field(default_factory=Tokens)

    def client(self, refusal: Refusal = lambda _: None) -> AccountClient:
        """Return the client of an account of its own."""
        key = AccountKey(TenantId("acme"), AccountId(uuid4()))
        account = Account(
            key=key,
            provider_type=ProviderType.GOOGLE,
            email_address=f"{key.account_id}@example.test",
            settings={},
            credentials={},
        )
        return AccountClient(self.http, self.tokens, self.quota.of(account), refusal)


@asynccontextmanager
async def rig(script: Script, limits: GoogleLimits | None = None) -> AsyncIterator[Rig]:
    settings = Settings(limits=LimitsSettings(google=limits or GoogleLimits()))
    async with scripted(script) as server, HttpClient(server.url) as http:
        yield Rig(server, http, google_quota(LiveSettings(settings)))


def answering(status: int, body: bytes = b"{}", **headers: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, body, **headers)

    return script


async def refuse_first_token(exchange: Exchange) -> None:
    stale = exchange.header("authorization") == "Bearer token-0"
    await exchange.answer(401 if stale else 200)


async def test_a_request_carries_the_accounts_token() -> None:
    async with rig(answering(200, b'{"historyId": "7"}')) as it:
        answer = await it.client().send(GET, cost=1)

        assert answer.json() == {"historyId": "7"}
        assert it.server.exchanges[0].header("authorization") == "Bearer token-0"


async def test_a_token_that_expired_is_renewed_and_the_request_sent_once_more() -> None:
    async with rig(refuse_first_token) as it:
        answer = await it.client().send(GET, cost=1)

        assert answer.status == 200
        assert it.tokens.renewals == ["token-0"]
        assert len(it.server.exchanges) == 2


async def test_both_requests_cost_quota() -> None:
    async with rig(refuse_first_token, GoogleLimits(user_units_per_minute=200)) as it:
        client = it.client()

        await client.send(GET, cost=40)
        with pytest.raises(QuotaSpent):
            await client.send(GET, cost=40)

        assert len(it.server.exchanges) == 2


async def test_a_renewed_token_that_is_refused_too_proves_nothing_by_itself() -> None:
    async with rig(answering(401)) as it:
        with pytest.raises(AuthUnproven):
            await it.client().send(GET, cost=1)

        assert len(it.server.exchanges) == 2
        assert len(it.tokens.renewals) == 1


async def test_the_provider_may_say_that_a_refused_token_means_dead_credentials() -> None:
    def refusal(answer: Answer) -> SyncError | None:
        return AuthRefused("the grant was revoked") if answer.status == 401 else None

    async with rig(answering(401)) as it:
        with pytest.raises(AuthRefused, match="revoked"):
            await it.client(refusal).send(GET, cost=1)

        assert len(it.server.exchanges) == 2


async def test_a_token_that_cannot_be_had_costs_no_request_and_no_quota() -> None:
    async with rig(answering(200), GoogleLimits(user_units_per_minute=200)) as it:
        client = it.client()
        it.tokens.failure = Unreachable("the token endpoint is down")

        with pytest.raises(Unreachable):
            await client.send(GET, cost=100)
        it.tokens.failure = None
        await client.send(GET, cost=100)

        assert len(it.server.exchanges) == 1


async def test_the_providers_reading_of_a_refusal_goes_before_the_status() -> None:
    def refusal(answer: Answer) -> SyncError | None:
        reason = answer.json()["error"]["errors"][0]["reason"]
        return Throttled("slower") if reason == "userRateLimitExceeded" else None

    body = b'{"error": {"errors": [{"reason": "%s"}]}}'
    async with rig(answering(403, body % b"userRateLimitExceeded")) as it:
        with pytest.raises(Throttled):
            await it.client(refusal).send(GET, cost=1)
    async with rig(answering(403, body % b"whatever")) as it:
        with pytest.raises(ServerRefused, match="403"):
            await it.client(refusal).send(GET, cost=1)


@pytest.mark.parametrize("status", [404, 410])
async def test_a_status_that_means_something_to_the_caller_is_an_answer(status: int) -> None:
    async with rig(answering(status, location="/again")) as it:
        answer = await it.client().send(GET, cost=1, allow={404, 410})

        assert (answer.status, answer.headers["location"]) == (status, "/again")


async def test_an_account_that_is_throttled_is_quiet_for_as_long_as_it_was_asked() -> None:
    async with rig(answering(429, retry_after="90.2")) as it:
        throttled, other = it.client(), it.client()

        with pytest.raises(Throttled) as first:
            await throttled.send(GET, cost=1)
        with pytest.raises(QuotaSpent) as second:
            await throttled.send(GET, cost=1)
        with pytest.raises(Throttled):
            await other.send(GET, cost=1)

        assert first.value.retry_after == timedelta(seconds=91)
        assert timedelta(seconds=89) < second.value.frees_in <= timedelta(seconds=91)
        assert len(it.server.exchanges) == 2


async def test_a_throttled_account_that_was_named_no_time_may_ask_for_less_at_once() -> None:
    async with rig(answering(429)) as it:
        client = it.client()

        for _ in range(2):
            with pytest.raises(Throttled):
                await client.send(GET, cost=1)

        assert len(it.server.exchanges) == 2


async def test_a_project_that_is_throttled_is_quiet_for_all_its_accounts() -> None:
    def refusal(_answer: Answer) -> SyncError | None:
        return ProjectThrottled("the project's rate limit", timedelta(hours=7))

    async with rig(answering(403)) as it:
        with pytest.raises(Throttled):
            await it.client(refusal).send(GET, cost=1)
        with pytest.raises(QuotaSpent) as spent:
            await it.client().send(GET, cost=1)

        assert spent.value.frees_in > timedelta(hours=6)
        assert len(it.server.exchanges) == 1


async def test_one_part_of_a_batch_is_judged_like_an_answer() -> None:
    async with rig(answering(200)) as it:
        client = it.client()
        whole = await client.send(ApiRequest("POST", "/batch", content=b"{}"), cost=2)

        def part(status: int) -> Answer:
            headers = {"retry-after": "30"}
            return Answer(status=status, headers=headers, body=b"", received_at=whole.received_at)

        assert client.judge(part(200)) is None
        assert isinstance(client.judge(part(404)), ServerRefused)
        assert isinstance(client.judge(part(429)), Throttled)
        with pytest.raises(QuotaSpent):
            await client.send(GET, cost=1)


async def test_a_request_that_failed_counts_as_one_that_the_server_saw() -> None:
    async def cut(exchange: Exchange) -> None:
        exchange.hang_up()

    async with rig(cut, GoogleLimits(user_units_per_minute=200)) as it:
        client = it.client()

        with pytest.raises(Unreachable):
            await client.send(GET, cost=100)
        with pytest.raises(QuotaSpent):
            await client.send(GET, cost=1)


async def test_the_callers_limit_of_an_answers_size_holds() -> None:
    async with rig(answering(200, b" " * 5_000)) as it:
        with pytest.raises(AnswerTooLarge):
            await it.client().send(GET, cost=1, max_bytes=4_000)


async def test_requests_of_one_account_run_side_by_side() -> None:
    everybody = asyncio.Barrier(5)

    async def script(exchange: Exchange) -> None:
        await everybody.wait()
        await exchange.answer()

    async with rig(script) as it:
        client = it.client()
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(client.send(GET, cost=1))

    assert len(it.server.exchanges) == 5
