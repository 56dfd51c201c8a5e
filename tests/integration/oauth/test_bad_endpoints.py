"""A token endpoint that is throttled, broken or slow costs time, and no account its connection."""

import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
import structlog

from emailsync import logs
from emailsync.domain.accounts import ProviderType
from emailsync.domain.decisions import RetryPolicy, decide
from emailsync.domain.errors import SyncError, Throttled
from emailsync.domain.jobs import SyncJob
from emailsync.domain.runs import RunResult
from emailsync.emulators.faults import Failure, Fault
from emailsync.emulators.oauth.ledger import Rotation
from emailsync.providers.oauth.audiences import Audience
from jobs import job_of
from oauth_rig import CLIENT_SECRET, DEADLINE_S, OAuthRig

OUTAGE = timedelta(minutes=10)
HOUR = timedelta(hours=1)
POLICY = RetryPolicy(attempts=3, base=timedelta(seconds=5))
INTERVAL = timedelta(minutes=5)
PASSING = {RunResult.RETRY, RunResult.FAILED, RunResult.THROTTLED}
INVALID_GRANT = '{"error": "invalid_grant"}'
FAULTS = {
    "429": Fault(status=429, headers={"Retry-After": "5"}),
    "429 of a dead grant": Fault(status=429, body=INVALID_GRANT),
    "500": Fault(status=500),
    "500 of a dead grant": Fault(status=500, body=INVALID_GRANT),
    "503": Fault(status=503, body="<html>busy</html>"),
    "503 with a time": Fault(status=503, headers={"Retry-After": "Thu, 01 Jan 2026 12:00:09 GMT"}),
    "403 of a firewall": Fault(status=403, body="<html>blocked</html>"),
    "401 of a proxy": Fault(status=401, body="{}"),
    "a redirect": Fault(status=302, headers={"Location": "https://example.test/"}),
    "cut": Fault(failure=Failure.CUT),
    "truncated": Fault(failure=Failure.TRUNCATED),
    "a page": Fault(failure=Failure.HTML),
    "gzip bomb": Fault(failure=Failure.GZIP_BOMB),
    "no JSON": Fault(status=200, body="{"),
    "no token": Fault(status=200, body="{}"),
    "a list": Fault(status=200, body="[1]"),
    "an error of another form": Fault(status=400, body='{"error": {"status": "UNAVAILABLE"}}'),
    "temporarily_unavailable": Fault(status=400, body='{"error": "temporarily_unavailable"}'),
}


async def ten_bad_minutes(rig: OAuthRig, audience: Audience) -> set[RunResult]:
    """Sync an account by the table of decisions, its token expired; return how its runs ended."""
    account = rig.account(audience)
    job: SyncJob = job_of("acme", provider_type=ProviderType.GOOGLE)
    results, end = set(), rig.clock.now() + OUTAGE
    while rig.clock.now() < end:
        error: SyncError | None = None
        try:
            await rig.of(account, audience).current()
        except SyncError as raised:
            error = raised
        now = rig.clock.now()
        outcome = decide(
            error, job, now=now, more=False, policy=POLICY, interval=INTERVAL, jitter=0.0
        )
        results.add(outcome.result)
        if outcome.next_sync_at is None:
            break
        job = replace(job, attempt=outcome.attempt, auth_refusals=outcome.auth_refusals)
        rig.clock.advance(outcome.next_sync_at - now)
    rig.emulator.faults.clear()
    assert rig.owner_of(await rig.of(account, audience).current()) == account.email_address
    return results


@pytest.mark.parametrize("audience", [Audience.GMAIL, Audience.GRAPH])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_ten_bad_minutes_park_nobody_and_then_it_goes_on(
    rig: OAuthRig, fault: Fault, audience: Audience
) -> None:
    rig.emulator.faults.add(fault)

    results = await ten_bad_minutes(rig, audience)

    assert results
    assert results <= PASSING


@pytest.mark.parametrize("audience", [Audience.GMAIL, Audience.GRAPH])
@pytest.mark.parametrize(
    "said",
    [
        f'"expires_in": {"9" * 400}',
        '"expires_in": NaN',
        '"expires_in": -Infinity',
        '"expires_in": [3600]',
        '"refresh_token": "\\ud800"',
        '"refresh_token": "a\\u0000b"',
        '"refresh_token": ["a"]',
    ],
)
async def test_nonsense_beside_a_token_leaves_the_account_with_what_it_had(
    rig: OAuthRig, said: str, audience: Audience
) -> None:
    account = rig.account(audience)
    body = f'{{"access_token": "ya29.odd", {said}}}'
    rig.emulator.faults.add(Fault(status=200, body=body, calls=[1]))

    first = await rig.of(account, audience).current()

    rig.clock.advance(2 * HOUR)
    second = await rig.of(account, audience).current()
    assert first.reveal() == "ya29.odd"
    assert rig.owner_of(second) == account.email_address


@pytest.mark.parametrize("audience", [Audience.GMAIL, Audience.GRAPH])
async def test_a_silent_endpoint_parks_nobody_and_does_not_hold_up_the_event_loop(
    rig: OAuthRig, audience: Audience
) -> None:
    rig.emulator.faults.add(Fault(calls=range(1, 3), delay_s=5 * DEADLINE_S))

    results = await ten_bad_minutes(rig, audience)

    assert results <= PASSING | {RunResult.DONE}


async def test_one_question_is_asked_once_and_nothing_sleeps(rig: OAuthRig) -> None:
    """The libraries would repeat it by themselves, and sleep in between."""
    rig.emulator.faults.add(Fault(status=503))
    started = anyio.current_time()

    for audience in (Audience.GMAIL, Audience.GRAPH):
        with pytest.raises(SyncError):
            await rig.of(rig.account(audience), audience).current()

    assert rig.emulator.usage.requests.total() == 2
    assert anyio.current_time() - started < 1.5


async def test_a_refusal_is_not_remembered_longer_than_it_lasts(rig: OAuthRig) -> None:
    """Msal would answer the same refresh token with the same refusal for a minute, unasked."""
    account = rig.account(Audience.GRAPH)
    rig.emulator.faults.add(Fault(calls=[1], status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(Throttled) as throttled:
        await rig.of(account, Audience.GRAPH).current()

    token = await rig.of(account, Audience.GRAPH).current()

    assert throttled.value.retry_after == HOUR
    assert rig.owner_of(token) == "ann@example.test"


async def test_a_token_that_lives_is_used_during_an_outage_and_the_endpoint_asked_once(
    rig: OAuthRig,
) -> None:
    account = rig.account(Audience.GMAIL)
    first = await rig.of(account, Audience.GMAIL).current()
    rig.clock.advance(0.85 * HOUR)
    rig.emulator.faults.add(Fault(status=500))
    session = rig.of(account, Audience.GMAIL)

    during = [await session.current() for _ in range(20)]

    assert set(during) == {first}
    assert rig.emulator.usage.statuses[500] == 1


async def test_an_answer_that_was_lost_costs_nothing_where_old_tokens_go_on(rig: OAuthRig) -> None:
    rig.ledger.rotation = Rotation.NEW
    account = rig.account(Audience.GRAPH)
    rig.emulator.faults.add(Fault(calls=[1], failure=Failure.TRUNCATED))

    with pytest.raises(SyncError):
        await rig.of(account, Audience.GRAPH).current()
    token = await rig.of(account, Audience.GRAPH).current()

    assert rig.owner_of(token) == "ann@example.test"


@pytest.mark.parametrize("skew", [timedelta(minutes=-10), timedelta(minutes=10)])
@pytest.mark.parametrize("audience", [Audience.GMAIL, Audience.GRAPH])
async def test_a_clock_that_is_ten_minutes_off_and_put_right_later_costs_at_most_a_renewal(
    rig: OAuthRig, audience: Audience, skew: timedelta
) -> None:
    issuers_clock = rig.ledger.clock
    rig.ledger.clock = lambda: issuers_clock() - skew.total_seconds()  # right; the daemon's is off
    account = rig.account(audience)
    refused = 0
    for minute in range(0, 180, 5):
        tokens = rig.of(account, audience)
        token = await tokens.current()
        if rig.owner_of(token) is None:
            refused += 1
            token = await tokens.renewed(token)
        assert rig.owner_of(token) == "ann@example.test"
        rig.clock.advance(timedelta(minutes=5))
        if minute == 90:
            rig.clock.advance(-skew)
            rig.ledger.clock = issuers_clock

    assert refused <= 1
    assert rig.ledger.granted.total() <= 6


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that our own code and its libraries log, as talkative as they can be set."""
    root = logging.getLogger()
    handlers, level, show = root.handlers, root.level, warnings.showwarning
    stream = io.StringIO()
    logs.configure(level="debug", form="json", stream=stream)
    yield stream
    logging.captureWarnings(capture=False)
    root.handlers, warnings.showwarning = handlers, show
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("audience", [Audience.GMAIL, Audience.GRAPH])
async def test_no_secret_leaves_by_a_log_or_an_error_even_if_the_endpoint_repeats_it(
    rig: OAuthRig, logged: io.StringIO, audience: Audience
) -> None:
    account = rig.account(audience)
    refresh_token = account.credentials["refresh_token"].reveal()
    told = []
    for status, error in ((400, "invalid_grant"), (401, "invalid_client"), (400, "new")):
        body = (
            f'{{"error": "{error}", "error_description":'
            f' "{refresh_token} of {CLIENT_SECRET} is bad"}}'
        )
        rig.emulator.faults.clear()
        rig.emulator.faults.add(Fault(status=status, body=body))
        with pytest.raises(SyncError) as raised:
            await rig.of(account, audience).current()
        told += [repr(raised.value), str(raised.value), repr(raised.value.__cause__)]
    rig.emulator.faults.clear()
    access_token = await rig.of(account, audience).current()

    everything = "\n".join(told) + logged.getvalue()
    assert "is bad" in everything
    assert "oauth.registration_refused" in everything
    for secret in (refresh_token, CLIENT_SECRET, access_token.reveal()):
        assert secret not in everything
