"""The emulated Gmail in a process of its own, spoken to by HTTP only."""

import base64
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import httpx
import pytest

from provider_process import running_providers

OWNER = "owner@example.com"
MAILBOX = f"/_control/mailboxes/{OWNER}"
ORDER = {
    "tokens": {"ya29.owner": OWNER},
    "latency_s": 0.001,
    "gmail": {
        "mailboxes": [{"email": OWNER, "messages": 30, "seed": 5}],
        "quota": "classic",
        "behaviour": {"base64_padding": True},
    },
}


@pytest.fixture
def gmail() -> Iterator[httpx.Client]:
    """A client of a Gmail that was started by one line of orders."""
    with running_providers(ORDER) as providers:
        headers = {"Authorization": "Bearer ya29.owner"}
        url = providers.urls["gmail"]
        with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
            yield client


def perform(gmail: httpx.Client, operation: str, **arguments: Any) -> Any:
    answer = gmail.post(f"{MAILBOX}/{operation}", json=arguments)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def test_the_ordered_mailboxes_are_there(gmail: httpx.Client) -> None:
    profile = gmail.get("/gmail/v1/users/me/profile").json()

    summary = gmail.get("/_control/mailboxes").json()

    assert profile["messagesTotal"] == 30
    assert summary == {OWNER: {"messages": 30, "history_id": int(profile["historyId"])}}


def test_the_ledger_can_be_changed_and_read(gmail: httpx.Client) -> None:
    raw = b"Subject: Hello\r\n\r\n"
    at = "2026-03-01T12:00:00+00:00"

    label = perform(gmail, "create_label", name="Work")
    message = perform(
        gmail,
        "deliver",
        raw=base64.b64encode(raw).decode(),
        labels=[label, "UNREAD"],
        internal_date=at,
    )
    perform(gmail, "mark_read", message=message)
    ledger = gmail.get(MAILBOX).json()

    assert {"id": label, "name": "Work", "is_system": False} in ledger["labels"]
    assert next(item for item in ledger["contents"] if item["id"] == message) == {
        "id": message,
        "thread_id": message,
        "labels": [label],
        "internal_date": 1_772_366_400_000,
        "sha256": sha256(raw).hexdigest(),
    }


def test_what_the_ledger_cannot_do_is_404(gmail: httpx.Client) -> None:
    unknown_message = gmail.post(f"{MAILBOX}/star", json={"message": "0"})
    unknown_operation = gmail.post(f"{MAILBOX}/_add", json={})

    assert (unknown_message.status_code, unknown_operation.status_code) == (404, 404)


def test_behaviour_and_quota_can_be_changed(gmail: httpx.Client) -> None:
    gmail.patch("/_control/behaviour", json={"gzip": False})
    gmail.patch("/_control/quota", json={"user_units_per_minute": 1})

    served = gmail.get("/gmail/v1/users/me/labels")
    refused = gmail.get("/gmail/v1/users/me/labels")

    assert "content-encoding" not in served.headers
    assert refused.status_code == 429


def test_another_mailbox_can_be_made(gmail: httpx.Client) -> None:
    made = gmail.put("/_control/mailboxes/other@example.com", json={"messages": 12, "seed": 9})

    assert made.json()["messages"] == 12


def test_mail_lives_when_told_to(gmail: httpx.Client) -> None:
    before = gmail.get("/_control/mailboxes").json()[OWNER]["history_id"]

    gmail.put("/_control/life", json={"changes_per_s": 1000})
    while gmail.get("/_control/mailboxes").json()[OWNER]["history_id"] < before + 500:
        pass
    gmail.put("/_control/life", json={"changes_per_s": 0})

    history = gmail.get("/gmail/v1/users/me/history", params={"startHistoryId": before}).json()
    kinds = {key for record in history["history"] for key in record}
    assert {"messagesAdded", "messagesDeleted", "labelsAdded", "labelsRemoved"} <= kinds


def test_usage_can_be_read_and_reset(gmail: httpx.Client) -> None:
    gmail.get("/gmail/v1/users/me/labels")

    usage = gmail.get("/_control/usage").json()

    assert usage["requests"] == {"GET /gmail/v1/users/{user}/labels": 1}
    assert (usage["units"], usage["peak_mailbox_units"]) == (1, {OWNER: 1})
    assert (usage["peak_project_units"], usage["throttled"]) == (1, 0)
    assert usage["peak_running"] == {OWNER: 1}
