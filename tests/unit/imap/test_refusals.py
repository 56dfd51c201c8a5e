import socket
import ssl
from datetime import timedelta

import pytest

from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    FolderGone,
    Misconfigured,
    ServerRefused,
    SyncError,
    Throttled,
    Unreachable,
)
from emailsync.providers.imap.answers import Condition
from emailsync.providers.imap.parse import parse
from emailsync.providers.imap.refusals import Phase, connection_error, refusal

LOGIN, FOLDER, WORK = Phase.LOGIN, Phase.FOLDER, Phase.WORK

#: What servers really answer, and the decision it asks for.
REAL_ANSWERS = [
    # Gmail
    ("NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", LOGIN, AuthRefused),
    ("NO [ALERT] Too many simultaneous connections. (Failure)", LOGIN, Throttled),
    ("NO [ALERT] Application-specific password required: https://x (Failure)", LOGIN, AuthRefused),
    ("NO [WEBALERT https://x] Web login required.", LOGIN, AuthRefused),
    ("NO [ALERT] Please log in via your web browser: https://x (Failure)", LOGIN, AuthRefused),
    ("NO [ALERT] Your account is not enabled for IMAP use (Failure)", LOGIN, AuthRefused),
    ("NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", WORK, Throttled),
    ("NO Account exceeded command or bandwidth limits. (Failure)", LOGIN, Throttled),
    ("BYE [ALERT] Account exceeded command or bandwidth limits.", WORK, Throttled),
    ("NO [NONEXISTENT] Unknown Mailbox: foo (Failure)", FOLDER, FolderGone),
    ("NO [UNAVAILABLE] Temporary System Error (Failure)", LOGIN, Unreachable),
    ("BYE System error 8jb1q", WORK, Unreachable),
    ("NO [THROTTLED] slow down", WORK, Throttled),
    # Exchange
    ("NO AUTHENTICATE failed.", LOGIN, AuthUnproven),
    ("NO LOGIN failed.", LOGIN, AuthUnproven),
    ("BAD User is authenticated but not connected.", WORK, ServerRefused),
    ("NO Server Unavailable. 15", LOGIN, Unreachable),
    ("BYE Connection closed. 14", WORK, Unreachable),
    ("NO Request is throttled. Suggested Backoff Time: 92 milliseconds", WORK, Throttled),
    ("BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds", WORK, Throttled),
    ("NO foo doesn't exist.", FOLDER, FolderGone),
    ("NO Basic authentication is disabled.", LOGIN, AuthRefused),
    # Yahoo and AOL
    ("NO [AUTHENTICATIONFAILED] LOGIN Invalid credentials", LOGIN, AuthRefused),
    ("NO [LIMIT] LOGIN Rate limit hit", LOGIN, Throttled),
    ("NO [UNAVAILABLE] UID FETCH Server error - Please try again later", WORK, ServerRefused),
    ("NO [UNAVAILABLE] LOGIN Server error - Please try again later", LOGIN, Unreachable),
    ("BAD [CLIENTBUG] FETCH CHANGEDSINCE must not be 0", WORK, ServerRefused),
    ("NO [SERVERBUG] UID SEARCH Server error", WORK, ServerRefused),
    # Dovecot
    ("NO [AUTHENTICATIONFAILED] Authentication failed.", LOGIN, AuthRefused),
    ("NO [UNAVAILABLE] Temporary authentication failure.", LOGIN, Unreachable),
    ("NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded", LOGIN, Throttled),
    (
        "NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure.",
        LOGIN,
        Misconfigured,
    ),
    ("NO [NONEXISTENT] Mailbox doesn't exist: foo (0.001 + 0.000 secs).", FOLDER, FolderGone),
    ("NO [NOPERM] Permission denied (0.001 + 0.000 secs).", FOLDER, ServerRefused),
    ("NO [INUSE] Mailbox is locked", FOLDER, ServerRefused),
    ("NO [SERVERBUG] Internal error occurred. Refer to server log.", WORK, ServerRefused),
    ("NO [EXPUNGEISSUED] Some messages were already expunged.", WORK, ServerRefused),
    ("BYE Disconnected for inactivity.", WORK, Unreachable),
    ("BYE Server shutting down.", WORK, Unreachable),
    # Cyrus, Courier, Zimbra and others
    ("NO Login failed: authentication failure", LOGIN, AuthUnproven),
    ("NO Mailbox does not exist", FOLDER, FolderGone),
    ("NO Mailbox does not exist, or must be subscribed to.", FOLDER, FolderGone),
    ("NO [TRYCREATE] no such mailbox", FOLDER, FolderGone),
    ("NO SELECT failed", FOLDER, ServerRefused),
    ("NO [EXPIRED] your password has expired", LOGIN, AuthRefused),
    ("NO [AUTHORIZATIONFAILED] no such proxy user", LOGIN, AuthRefused),
    ("NO [CONTACTADMIN] account locked", LOGIN, AuthUnproven),
    ("NO Too many login failures, try again in 5 minutes", LOGIN, Throttled),
    ("NO Login fail. Account is abnormal, service is not open", LOGIN, AuthUnproven),
    ("BAD Command unknown", WORK, ServerRefused),
    ("BAD Error in IMAP command received by server.", LOGIN, ServerRefused),
    ("NO", LOGIN, AuthUnproven),
    ("NO", WORK, ServerRefused),
    ("BYE", WORK, Unreachable),
]


def condition(answer: str) -> Condition:
    line = f"* {answer}" if answer.startswith("BYE") else f"A1 {answer}"
    parsed = parse([line.encode()])
    assert isinstance(parsed, Condition)
    return parsed


@pytest.mark.parametrize(("answer", "phase", "decision"), REAL_ANSWERS)
def test_a_real_answer_asks_for_its_decision(
    answer: str, phase: Phase, decision: type[SyncError]
) -> None:
    assert type(refusal(condition(answer), phase)) is decision


def test_only_an_explicit_code_or_a_known_text_proves_dead_credentials() -> None:
    """A temporary failure at login must never park an account (RFC 5530)."""
    for code in ("UNAVAILABLE", "LIMIT", "INUSE", "SERVERBUG", "OVERQUOTA", "ALERT", "X-NEW"):
        error = refusal(condition(f"NO [{code}] Login incorrect"), LOGIN)

        assert not isinstance(error, AuthRefused), code


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        (
            "NO Request is throttled. Suggested Backoff Time: 92 milliseconds",
            timedelta(seconds=0.092),
        ),
        ("NO Request is throttled. Suggested Backoff Time: 99999999999 ms", timedelta(hours=1)),
        ("NO Request is throttled.", None),
        ("NO [OVERQUOTA] full", timedelta(hours=1)),
        ("NO [ALERT] Too many simultaneous connections", timedelta(minutes=5)),
        ("NO [LIMIT] slow down", None),
    ],
)
def test_a_throttle_says_how_long_to_wait(text: str, wait: timedelta | None) -> None:
    error = refusal(condition(text), WORK)

    assert isinstance(error, Throttled)
    assert error.retry_after == wait


def test_a_message_quotes_the_server_shortly_and_in_plain_characters() -> None:
    error = refusal(condition("NO [ALERT] \x1b[31m" + "x" * 1_000), WORK)

    assert error.message.startswith("the server answered: NO [ALERT] ?[31mxxx")
    assert len(error.message) < 250


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "Connection refused"),
        ConnectionResetError(),
        TimeoutError(),
        OSError(113, "No route to host"),
    ],
)
def test_refused_silent_and_unroutable_are_told_in_the_same_words(error: OSError) -> None:
    """Else a tenant could map our network with it."""
    told = connection_error(error, "imap.example.com:993")

    assert type(told) is Unreachable
    assert told.message == "imap.example.com:993 could not be reached"


def test_a_name_that_does_not_resolve_is_not_the_accounts_fault() -> None:
    assert type(connection_error(socket.gaierror(-2, "no"), "h:993")) is Unreachable


@pytest.mark.parametrize(
    ("code", "decision"),
    [(62, Misconfigured), (18, Misconfigured), (20, Misconfigured), (10, Unreachable)],
)
def test_only_a_certificate_that_waiting_cannot_repair_stops_the_retries(
    code: int, decision: type[SyncError]
) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code

    assert type(connection_error(error, "h:993")) is decision
