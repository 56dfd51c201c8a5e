"""What a token endpoint's refusal costs: an account its connection, the operator work, or time."""

from datetime import timedelta
from typing import Any

import pytest

from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    OperatorMustAct,
    SyncError,
    Throttled,
    Unreachable,
)
from emailsync.providers.oauth.classifier import RULES, Grant, Issuer, Refusal, classified

GOOGLE, MICROSOFT = Issuer.GOOGLE, Issuer.MICROSOFT
APPLICATION = Grant.APPLICATION
REVOKED = "Token has been expired or revoked."
LATE_JWT = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
)


def refusal(
    status: int,
    error: str | None = None,
    *,
    issuer: Issuer = MICROSOFT,
    numbers: tuple[int, ...] = (),
    **fields: Any,
) -> Refusal:
    fields.setdefault("grant", Grant.USER)
    return Refusal(issuer=issuer, status=status, error=error, numbers=frozenset(numbers), **fields)


TABLE = [
    # A grant that is dead, by the issuer's explicit word
    (refusal(400, "invalid_grant", issuer=GOOGLE, description=REVOKED), AuthRefused),
    (refusal(400, "invalid_grant", issuer=GOOGLE, suberror="invalid_rapt"), AuthRefused),
    (refusal(400, "invalid_grant", issuer=GOOGLE, suberror="rapt_required"), AuthRefused),
    (refusal(400, "invalid_grant", suberror="bad_token", numbers=(50173,)), AuthRefused),
    (refusal(400, "invalid_grant", suberror="token_expired", numbers=(700082,)), AuthRefused),
    (refusal(400, "invalid_grant", suberror="consent_required", numbers=(65001,)), AuthRefused),
    (refusal(400, "invalid_grant", suberror="basic_action", numbers=(50076,)), AuthRefused),
    (refusal(400, "invalid_grant", numbers=(70008,)), AuthRefused),
    (refusal(400, "invalid_grant", numbers=(50057,)), AuthRefused),
    (refusal(400, "invalid_grant", numbers=(1,)), AuthRefused),
    (refusal(400, "interaction_required", numbers=(50079,)), AuthRefused),
    (refusal(400, "interaction_required", numbers=(53003,)), AuthRefused),
    (refusal(400, "login_required"), AuthRefused),
    (refusal(400, "consent_required"), AuthRefused),
    (refusal(400, "admin_policy_enforced", issuer=GOOGLE), AuthRefused),
    (refusal(400, "access_denied"), AuthRefused),
    (
        refusal(
            400,
            "invalid_grant",
            issuer=GOOGLE,
            grant=APPLICATION,
            description="Invalid email or User ID",
        ),
        AuthRefused,
    ),
    # Our registration, our key, our clock
    (refusal(401, "invalid_client", issuer=GOOGLE), OperatorMustAct),
    (refusal(401, "invalid_client", numbers=(7000215,)), OperatorMustAct),
    (refusal(401, "invalid_client", numbers=(7000222,)), OperatorMustAct),
    (refusal(401, "deleted_client", issuer=GOOGLE), OperatorMustAct),
    (refusal(401, "unauthorized_client", issuer=GOOGLE), OperatorMustAct),
    (refusal(400, "unauthorized_client", numbers=(700016,)), OperatorMustAct),
    (refusal(401, "unauthorized_client", issuer=GOOGLE, grant=APPLICATION), OperatorMustAct),
    (refusal(403, "access_denied", issuer=GOOGLE, grant=APPLICATION), OperatorMustAct),
    (refusal(400, "invalid_request", numbers=(90002,)), OperatorMustAct),
    (refusal(400, "invalid_scope", numbers=(70011,)), OperatorMustAct),
    (refusal(400, "invalid_resource", numbers=(500011,)), OperatorMustAct),
    (refusal(400, "unsupported_grant_type", issuer=GOOGLE), OperatorMustAct),
    (refusal(400, "invalid_grant", suberror="client_mismatch"), OperatorMustAct),
    (
        refusal(400, "invalid_grant", issuer=GOOGLE, grant=APPLICATION, description=LATE_JWT),
        OperatorMustAct,
    ),
    (
        refusal(
            400,
            "invalid_grant",
            issuer=GOOGLE,
            grant=APPLICATION,
            description="Invalid JWT Signature.",
        ),
        OperatorMustAct,
    ),
    (
        refusal(
            400,
            "invalid_grant",
            issuer=GOOGLE,
            grant=APPLICATION,
            description="Invalid grant: account not found",
        ),
        OperatorMustAct,
    ),
    # The endpoint is busy
    (refusal(429), Throttled),
    (refusal(429, "invalid_grant"), Throttled),
    (refusal(429, "temporarily_unavailable"), Throttled),
    (refusal(503, retry_after=timedelta(seconds=7)), Throttled),
    (refusal(400, "slow_down"), Throttled),
    (refusal(403, "rate_limit_exceeded", issuer=GOOGLE), Throttled),
    (refusal(400, "invalid_grant", numbers=(50196,)), Throttled),
    # The endpoint is broken
    (refusal(500), Unreachable),
    (refusal(500, "invalid_grant"), Unreachable),
    (refusal(500, "internal_failure", issuer=GOOGLE), Unreachable),
    (refusal(502), Unreachable),
    (refusal(503), Unreachable),
    (refusal(504), Unreachable),
    (refusal(408), Unreachable),
    (refusal(400, "temporarily_unavailable"), Unreachable),
    (refusal(400, "server_error"), Unreachable),
    (refusal(400, "invalid_grant", numbers=(50033,)), Unreachable),
    (refusal(400, "invalid_grant", numbers=(50087,)), Unreachable),
    # No OAuth answer at all: a captive portal, a proxy, a firewall
    (refusal(200), Unreachable),
    (refusal(302), Unreachable),
    (refusal(400), Unreachable),
    (refusal(401), Unreachable),
    (refusal(403), Unreachable),
    (refusal(404), Unreachable),
    # An error that nobody has heard of proves nothing
    (refusal(400, "something_new"), AuthUnproven),
]


@pytest.mark.parametrize(("answered", "expected"), TABLE, ids=str)
def test_each_refusal_has_its_decision(answered: Refusal, expected: type[SyncError]) -> None:
    assert type(classified(answered)) is expected


def test_every_rule_is_met_by_the_table() -> None:
    met = {
        next((at for at, rule in enumerate(RULES) if rule.fits(each)), None) for each, _ in TABLE
    }

    assert met >= set(range(len(RULES)))


def test_the_wait_that_was_asked_for_is_kept() -> None:
    error = classified(refusal(429, retry_after=timedelta(seconds=77)))

    assert isinstance(error, Throttled)
    assert error.retry_after == timedelta(seconds=77)


def test_the_message_says_who_answered_what_and_who_has_to_do_what() -> None:
    description = "AADSTS50173: The grant was revoked. Trace ID: 1 Correlation ID: 2 Timestamp: 3"
    error = classified(refusal(400, "invalid_grant", suberror="bad_token", description=description))

    assert str(error) == (
        "Microsoft's token endpoint answered invalid_grant, bad_token: AADSTS50173: The grant was"
        " revoked.; the mailbox's owner has to connect it again"
    )


def test_a_description_from_outside_is_cut_and_holds_no_control_characters() -> None:
    error = classified(refusal(400, "invalid_grant", description="\x1b[2J\r\n" + "x" * 10_000))

    assert str(error).isprintable()
    assert len(str(error)) < 400
