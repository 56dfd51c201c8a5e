"""How the emulated Gmail refuses: quotas, errors and faults, on a real socket."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from emailsync.emulators.gmail import errors
from emailsync.emulators.gmail.exchange import Reply
from emailsync.emulators.gmail.quota import PRICES, Quota
from gmail_wire import ME, OWNER, GmailOnTheWire

RAW = b"Subject: Hello\r\n\r\n"


async def test_a_call_without_a_valid_token_is_401(gmail: GmailOnTheWire) -> None:
    gmail.client.headers["Authorization"] = "Bearer expired"

    answer = await gmail.get("/profile")

    assert answer.status_code == 401
    assert answer.json()["error"] == {
        "code": 401,
        "message": "Invalid Credentials",
        "errors": [
            {
                "message": "Invalid Credentials",
                "domain": "global",
                "reason": "authError",
                "location": "Authorization",
                "locationType": "header",
            }
        ],
        "status": "UNAUTHENTICATED",
    }


async def test_an_account_without_gmail_fails_a_precondition(gmail: GmailOnTheWire) -> None:
    gmail.client.headers["Authorization"] = "Bearer ya29.stranger"

    answer = await gmail.get("/profile")

    assert answer.status_code == 400
    assert answer.json()["error"]["errors"][0]["reason"] == "failedPrecondition"
    assert answer.json()["error"]["message"] == "Mail service not enabled"


@pytest.mark.parametrize(
    ("preset", "user_units", "price"), [("2026", 6_000, 20), ("classic", 15_000, 5)]
)
async def test_a_preset_has_googles_prices_and_limits(
    gmail: GmailOnTheWire, preset: str, user_units: int, price: int
) -> None:
    quota = Quota.preset(preset)

    assert (quota.user_units_per_minute, quota.project_units_per_minute) == (user_units, 1_200_000)
    assert (quota.prices["messages.get"], quota.prices["attachments.get"]) == (price, price)
    assert (quota.prices["history.list"], quota.prices["messages.list"]) == (2, 5)


async def test_units_are_counted_by_the_price_of_the_method(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(RAW)

    for path in ("/profile", "/labels", "/labels/INBOX", "/messages", f"/messages/{message}"):
        await gmail.read(path)
    await gmail.read("/history", startHistoryId=gmail.mailbox.history.current_id)

    assert gmail.emulator.usage.units == 1 + 1 + 1 + 5 + 20 + 2
    assert gmail.emulator.usage.peak_mailbox_units(OWNER) == 30
    assert gmail.emulator.usage.peak_project_units == 30


async def test_a_user_over_the_quota_is_told_when_to_come_back(gmail: GmailOnTheWire) -> None:
    gmail.emulator.quota.user_units_per_minute = 1
    await gmail.read("/labels")

    answer = await gmail.get("/labels")

    error = answer.json()["error"]
    named = re.fullmatch(r"User-rate limit exceeded\.  Retry after (\S+)", error["message"])
    assert answer.status_code == 429
    assert named is not None
    wait = datetime.fromisoformat(named[1]) - datetime.now(UTC)
    assert timedelta(seconds=50) < wait < timedelta(seconds=61)


async def test_a_user_over_the_quota_may_be_told_by_403(gmail: GmailOnTheWire) -> None:
    gmail.emulator.quota.user_units_per_minute = 0
    gmail.emulator.quota.user_status = 403

    answer = await gmail.get("/labels")

    assert answer.status_code == 403
    assert answer.json()["error"]["errors"] == [
        {
            "message": "User Rate Limit Exceeded",
            "domain": "usageLimits",
            "reason": "userRateLimitExceeded",
        }
    ]


@pytest.mark.parametrize("status", [403, 429])
async def test_a_project_over_the_quota_is_refused_for_all_users(
    gmail: GmailOnTheWire, status: int
) -> None:
    gmail.emulator.quota.project_units_per_minute = 0
    gmail.emulator.quota.project_status = status

    answer = await gmail.get("/labels")

    assert answer.status_code == status
    assert answer.json()["error"]["errors"][0]["reason"] == "rateLimitExceeded"


async def test_a_refused_call_costs_nothing(gmail: GmailOnTheWire) -> None:
    gmail.emulator.quota.user_units_per_minute = 5
    message = gmail.mailbox.deliver(RAW)

    refused = await gmail.get(f"/messages/{message}")
    served = await gmail.get("/labels")

    assert (refused.status_code, served.status_code) == (429, 200)
    assert gmail.emulator.usage.units == 1


async def test_quotas_can_be_switched_off(gmail: GmailOnTheWire) -> None:
    gmail.emulator.quota.user_units_per_minute = None
    gmail.emulator.quota.project_units_per_minute = None
    gmail.emulator.quota.prices = dict.fromkeys(PRICES["2026"], 2_000_000)

    answers = [await gmail.get("/labels") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]


async def test_calls_that_meet_count_as_concurrent(gmail: GmailOnTheWire) -> None:
    gmail.emulator.behaviour.concurrent_calls = 2
    gmail.emulator.behaviour.service_s = 0.2

    answers = await asyncio.gather(*(gmail.get("/labels") for _ in range(3)))

    assert sorted(answer.status_code for answer in answers) == [200, 200, 429]
    assert gmail.emulator.usage.peak_running[OWNER] == 2


@pytest.mark.parametrize(
    ("refusal", "code", "reason", "status"),
    [
        (errors.insufficient_scope, 403, "insufficientPermissions", "PERMISSION_DENIED"),
        (errors.domain_policy, 403, "domainPolicy", "PERMISSION_DENIED"),
        (errors.user_rate_limit_exceeded, 403, "userRateLimitExceeded", "PERMISSION_DENIED"),
        (errors.rate_limit_exceeded, 403, "rateLimitExceeded", "PERMISSION_DENIED"),
        (errors.daily_limit_exceeded, 403, "dailyLimitExceeded", "PERMISSION_DENIED"),
        (errors.too_many_concurrent_requests, 429, "rateLimitExceeded", "RESOURCE_EXHAUSTED"),
        (errors.backend_error, 500, "backendError", "INTERNAL"),
        (errors.unavailable, 503, "backendError", "UNAVAILABLE"),
    ],
)
async def test_any_documented_error_can_be_ordered(
    gmail: GmailOnTheWire, refusal: Callable[[], Reply], code: int, reason: str, status: str
) -> None:
    gmail.emulator.faults.add(errors.as_fault(refusal(), on="/history"))

    failed = await gmail.get("/history", startHistoryId=1)
    works = await gmail.get("/labels")

    error = failed.json()["error"]
    assert (failed.status_code, error["code"], error["status"]) == (code, code, status)
    assert error["errors"][0]["reason"] == reason
    assert works.status_code == 200


async def test_what_is_not_emulated_is_404(gmail: GmailOnTheWire) -> None:
    answer = await gmail.client.get(f"{ME}/threads")

    assert answer.status_code == 404
