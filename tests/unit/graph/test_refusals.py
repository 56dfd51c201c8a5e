"""What every refusal of Graph means: providers' tables of codes, one row each."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    Misconfigured,
    ServerRefused,
    SyncError,
    Throttled,
)
from emailsync.providers.graph.refusals import (
    CursorExpired,
    ItemGone,
    RequestRefused,
    concerns_one,
    refusal,
)
from emailsync.providers.http_messages import Answer

CLAIMS = {"www-authenticate": 'Bearer error="insufficient_claims", claims="eyJh"'}


def refused(
    status: int,
    code: str = "",
    *,
    inner: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    error = {"code": code, "message": "Some text that is not to be read", "innerError": inner or {}}
    return Answer(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=orjson.dumps({"error": error}),
        received_at=datetime(2026, 10, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        # Rounds that cannot go on.
        (refused(410), CursorExpired),
        (refused(410, "resyncRequired"), CursorExpired),
        (refused(410, "SyncStateNotFound"), CursorExpired),
        (refused(400, "syncStateNotFound"), CursorExpired),
        (refused(400, "SYNCSTATENOTFOUND"), CursorExpired),
        (refused(400, "SyncStateInvalid"), CursorExpired),
        (refused(400, "BadRequest", inner={"code": "resyncRequired"}), CursorExpired),
        (
            refused(404, "NotFound", inner={"innererror": {"code": "SyncStateNotFound"}}),
            CursorExpired,
        ),
        # Pauses, also under another status.
        (refused(429, "ApplicationThrottled"), Throttled),
        (refused(503, "activityLimitReached"), Throttled),
        (refused(429, "TooManyRequests", headers={"retry-after": "20"}), Throttled),
        # Tokens and permissions.
        (refused(401, "InvalidAuthenticationToken", headers=CLAIMS), AuthRefused),
        (refused(401, "InvalidAuthenticationToken"), None),
        (refused(403, "ErrorAccessDenied"), AuthRefused),
        (refused(403, "accessDenied"), AuthRefused),
        (refused(403, "Authorization_RequestDenied"), AuthRefused),
        (refused(403, "Forbidden", inner={"code": "insufficient_claims"}), AuthRefused),
        (refused(403, "somethingNew"), AuthUnproven),
        # Mailboxes that are none.
        (refused(404, "MailboxNotEnabledForRESTAPI"), Misconfigured),
        (refused(404, "MailboxNotSupportedForRESTAPI"), Misconfigured),
        (refused(404, "ErrorInvalidUser"), Misconfigured),
        (refused(404, "Request_ResourceNotFound"), Misconfigured),
        # Items.
        (refused(404, "ErrorItemNotFound"), ItemGone),
        (refused(404, "ResourceNotFound"), ItemGone),
        (refused(404, "itemNotFound"), ItemGone),
        (refused(404), ServerRefused),
        (refused(404, "somethingNew"), ServerRefused),
        (refused(400, "ErrorInvalidIdMalformed"), RequestRefused),
        (refused(400, "RequestBroker--ParseUri"), RequestRefused),
        # What the status alone says.
        (refused(429), None),
        (refused(503, "serviceNotAvailable"), None),
        (refused(503, "ErrorServerBusy"), None),
        (refused(504, "UnknownError"), None),
        (refused(500, "ErrorInternalServerError"), None),
        (refused(509), None),
    ],
)
def test_a_refusal_means_what_its_code_says(
    answer: Answer, meaning: type[SyncError] | None
) -> None:
    error = refusal(answer)

    assert (None if error is None else type(error)) is meaning


def test_a_pause_is_as_long_as_was_asked() -> None:
    error = refusal(refused(429, "ApplicationThrottled", headers={"retry-after": "30"}))

    assert isinstance(error, Throttled)
    assert error.retry_after == timedelta(seconds=30)


def test_a_refusal_names_its_code_and_request_and_nothing_else_that_was_written() -> None:
    inner = {"code": "inner<script>", "request-id": "0f5c4e4e-7c2e-4bb4-8d35-5a2f1d1f1c3a"}

    error = refusal(refused(404, "ErrorItemNotFound", inner=inner))

    assert str(error) == (
        "Microsoft Graph answered 404 ErrorItemNotFound"
        " (request 0f5c4e4e-7c2e-4bb4-8d35-5a2f1d1f1c3a)"
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "no"}', b'{"error": {}}'])
def test_a_refusal_without_its_usual_body_is_judged_by_its_status(body: bytes) -> None:
    answer = Answer(
        status=410, headers={}, body=body, received_at=datetime(2026, 10, 1, tzinfo=UTC)
    )

    assert isinstance(refusal(answer), CursorExpired)


def test_only_what_may_be_one_items_own_fault_lets_the_others_go_on() -> None:
    alone = [ItemGone("x"), RequestRefused("x"), CursorExpired("x")]
    together = [Throttled("x"), AuthRefused("x"), AuthUnproven("x"), Misconfigured("x")]

    assert all(map(concerns_one, alone))
    assert not any(map(concerns_one, together))
