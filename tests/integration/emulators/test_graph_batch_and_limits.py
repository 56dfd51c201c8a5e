"""The emulated Graph's batches, limits, faults and control API, on a real socket."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import anyio
import httpx
import pytest

from emailsync.emulators.faults import Failure, Fault
from emailsync.emulators.graph.throttling import Limits
from graph_client import ADA, IMMUTABLE, INBOX_DELTA, GraphClient, graph_client, mail

SLOW = 0.05  #: seconds that a mailbox is at work for a request, so that requests overlap


def get_inbox(name: object, **more: Any) -> dict[str, Any]:
    return {"id": str(name), "url": "/me/mailFolders/inbox?$select=id", **more}


async def at_once(client: GraphClient, count: int) -> list[httpx.Response]:
    """Send so many requests at the same time."""
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await client.get("/me/messages"))

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(ask)
    return answers


# Batches


async def test_parts_are_answered_by_id_in_any_order() -> None:
    async with graph_client() as client:
        answer = await client.batch(*(get_inbox(n) for n in range(20)))
        responses = answer.json()["responses"]

    assert sorted(int(part["id"]) for part in responses) == list(range(20))
    assert [part["id"] for part in responses] != [str(n) for n in range(20)]
    inbox = client.mailbox.folder("inbox").id
    assert all(part["status"] == 200 and part["body"]["id"] == inbox for part in responses)


@pytest.mark.parametrize(
    "requests",
    [
        [],
        [get_inbox(n) for n in range(21)],
        [get_inbox(1), get_inbox(1)],
        [{"id": "1"}],
        [get_inbox(1, dependsOn=["2"]), get_inbox(2)],
        [{"id": "1", "url": "https://graph.microsoft.com/v1.0/me"}],
    ],
    ids=["none", "21", "same id", "no url", "depends on a later one", "absolute url"],
)
async def test_a_malformed_batch_is_refused_as_a_whole(requests: list[dict[str, Any]]) -> None:
    async with graph_client() as client:
        answer = await client.batch(*requests)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")


async def test_a_batch_is_all_sequential_or_all_parallel() -> None:
    two_chains = [
        get_inbox(1),
        get_inbox(2),
        get_inbox(3, dependsOn=["1"]),
        get_inbox(4, dependsOn=["2"]),
    ]
    one_chain = [get_inbox(1), *(get_inbox(n, dependsOn=[str(n - 1)]) for n in range(2, 6))]
    after_one = [get_inbox(1), *(get_inbox(n, dependsOn=["1"]) for n in range(2, 6))]

    async with graph_client() as client:
        statuses = [
            (await client.batch(*requests)).status_code
            for requests in (two_chains, one_chain, after_one)
        ]

    assert statuses == [400, 200, 200]


async def test_what_depends_on_a_failure_fails_too() -> None:
    async with graph_client() as client:
        parts = await client.parts(
            {"id": "1", "url": "/me/messages/nonsense"},
            get_inbox(2, dependsOn=["1"]),
            get_inbox(3, dependsOn=["2"]),
        )

    assert [parts[name]["status"] for name in "123"] == [400, 424, 424]


async def test_parts_have_headers_and_refusals_of_their_own() -> None:
    async with graph_client() as client:
        made = client.mailbox.deliver(mail())
        parts = await client.parts(
            {"id": "a", "url": f"/me/messages/{made.id}?$select=id"},
            {
                "id": "b",
                "url": f"/me/messages/{made.id}?$select=id",
                "headers": {"Prefer": IMMUTABLE},
            },
            {"id": "c", "url": "/me/mailFolders/inbox", "headers": {"Authorization": "Bearer x"}},
            {"id": "d", "url": "/users/bob@example.test/messages"},
        )

    assert parts["a"]["body"]["id"] == made.regular_id
    assert parts["b"]["body"]["id"] == made.id
    assert parts["b"]["headers"]["Preference-Applied"] == IMMUTABLE
    assert parts["c"]["status"] == 401
    assert parts["d"]["body"]["error"]["code"] == "ErrorAccessDenied"


async def test_delta_links_work_within_a_batch() -> None:
    async with graph_client() as client:
        link = (await client.round(INBOX_DELTA)).link
        new = client.mailbox.deliver(mail())
        relative = link.removeprefix(f"{client.base_url}/v1.0")
        parts = await client.parts({"id": "1", "url": relative, "headers": {"Prefer": IMMUTABLE}})

    body = parts["1"]["body"]
    assert [item["id"] for item in body["value"]] == [new.id]
    assert body["@odata.deltaLink"].startswith(client.base_url)


async def test_mime_comes_in_base64_within_a_batch() -> None:
    async with graph_client() as client:
        made = client.mailbox.deliver(mail())
        parts = await client.parts({"id": "1", "url": f"/me/messages/{made.id}/$value"})

    assert base64.b64decode(parts["1"]["body"]) == mail()


async def test_a_batch_without_a_valid_token_is_refused() -> None:
    async with graph_client() as client:
        answer = await client.batch(get_inbox(1), bearer="expired")

    assert answer.status_code == 401


# Limits


async def test_every_part_counts_as_a_request_of_the_mailbox() -> None:
    async with graph_client() as client:
        await client.batch(*(get_inbox(n) for n in range(20)))
        await client.get("/me/messages")
        usage = client.emulator.usage

    assert usage.peak_mailbox_units(ADA) == 21
    assert usage.calls == {"batch": 1, "mailFolders.get": 20, "messages.list": 1}
    assert sum(usage.requests.values()) == 2


async def test_the_fifth_concurrent_request_of_a_mailbox_is_refused() -> None:
    async with graph_client(limits=Limits(service_time_s=SLOW)) as client:
        answers = await at_once(client, 5)
        other = client.emulator.usage.peak_running

    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 1
    assert refused[0].json()["error"]["code"] == "ApplicationThrottled"
    assert "MailboxConcurrency" in refused[0].json()["error"]["message"]
    assert refused[0].headers["retry-after"] == "10"
    assert other == {ADA: 4}


async def test_a_batch_runs_four_parts_at_a_time_and_two_batches_are_too_many() -> None:
    async with graph_client(limits=Limits(service_time_s=SLOW)) as client:
        alone = await client.parts(*(get_inbox(n) for n in range(8)))
        together: list[dict[str, dict[str, Any]]] = []

        async def send() -> None:
            together.append(await client.parts(*(get_inbox(n) for n in range(8))))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            group.start_soon(send)

    statuses = [part["status"] for parts in together for part in parts.values()]
    assert {part["status"] for part in alone.values()} == {200}
    assert set(statuses) == {200, 429}
    assert client.emulator.usage.peak_running == {ADA: 4}
    assert client.emulator.usage.throttled == statuses.count(429)


async def test_a_sequential_batch_is_one_connection() -> None:
    chain = [get_inbox(1), *(get_inbox(n, dependsOn=[str(n - 1)]) for n in range(2, 6))]

    async with graph_client(limits=Limits(service_time_s=0.001)) as client:
        await client.parts(*chain)

    assert client.emulator.usage.peak_running == {ADA: 1}


async def test_requests_of_a_mailbox_are_limited_in_any_window_and_refused_ones_count() -> None:
    async with graph_client(limits=Limits(mailbox_requests=3)) as client:
        statuses = [(await client.get("/me/messages")).status_code for _ in range(5)]
        other = await client.get("/me/messages", bearer="bob-token")

    assert statuses == [200, 200, 200, 429, 429]
    assert other.status_code == 200
    assert client.emulator.usage.peak_mailbox_units(ADA) == 5


async def test_requests_of_the_application_are_limited_over_all_mailboxes() -> None:
    async with graph_client(limits=Limits(application_requests=1)) as client:
        first = await client.get("/me/messages")
        other = await client.get("/me/messages", bearer="bob-token")

    assert (first.status_code, other.status_code) == (200, 429)


async def test_retry_after_can_be_a_date() -> None:
    limits = Limits(mailbox_requests=0, retry_after_as_date=True, retry_after_s=30)

    async with graph_client(limits=limits) as client:
        answer = await client.get("/me/messages")

    wait = parsedate_to_datetime(answer.headers["retry-after"]) - _date_of(answer)
    assert 28 <= wait.total_seconds() <= 31


def _date_of(answer: httpx.Response) -> datetime:
    return parsedate_to_datetime(answer.headers["date"])


async def test_limits_can_be_switched_off() -> None:
    limits = Limits(mailbox_concurrent=None, service_time_s=SLOW)

    async with graph_client(limits=limits) as client:
        answers = await at_once(client, 8)

    assert {answer.status_code for answer in answers} == {200}


async def test_a_part_of_a_batch_is_throttled_alone() -> None:
    async with graph_client(limits=Limits(mailbox_requests=2)) as client:
        parts = await client.parts(*(get_inbox(n) for n in range(3)))

    statuses = sorted(part["status"] for part in parts.values())
    throttled = next(part for part in parts.values() if part["status"] == 429)
    assert statuses == [200, 200, 429]
    assert throttled["headers"]["Retry-After"] == "10"


# Faults, compression


async def test_faults_are_for_parts_of_batches_too() -> None:
    async with graph_client() as client:
        client.emulator.faults.add(
            Fault(on="GET /v1.0/me/mailFolders/inbox", calls=[2], status=503),
            Fault(on="GET /v1.0/me/mailFolders/inbox", calls=[3], failure=Failure.CUT),
        )
        parts = await client.parts(*(get_inbox(n) for n in range(4)))

    assert sorted(part["status"] for part in parts.values()) == [200, 200, 503, 504]


async def test_answers_are_compressed_for_who_accepts_it() -> None:
    async with graph_client(messages=20) as client:
        packed = await client.get("/me/messages", **{"accept-encoding": "gzip"})
        plain = await client.get("/me/messages", **{"accept-encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()


# From other processes


async def test_the_ledger_is_filled_changed_and_read_over_http() -> None:
    async with graph_client() as client:
        control = f"{client.base_url}/_control/mailboxes/eve@example.test"
        await client.http.put(control, json={"messages": 5, "seed": 2})
        raw = base64.b64encode(mail("one")).decode()
        made = (await client.http.post(f"{control}/deliver", json={"raw": raw})).json()["result"]
        await client.http.post(f"{control}/set_flag", json={"message_id": made})
        await client.http.post(f"{control}/move", json={"message_id": made, "folder": "archive"})
        await client.http.post(f"{control}/deliver_generated", json={"count": 2})
        refused = await client.http.post(f"{control}/delete", json={"message_id": "nonsense"})
        ledger = (await client.http.get(control)).json()

    (message,) = [message for message in ledger["messages"] if message["id"] == made]
    (archive,) = [folder for folder in ledger["folders"] if folder["well_known"] == "archive"]
    assert len(ledger["messages"]) == 8
    assert message["folder_id"] == archive["id"]
    assert (message["flag"], message["subject"]) == ("flagged", "one")
    assert refused.status_code == 404


async def test_quirks_access_limits_and_expiry_are_set_over_http() -> None:
    async with graph_client() as client:
        control = f"{client.base_url}/_control"
        link = (await client.round(INBOX_DELTA)).link
        for path, change in (
            (f"mailboxes/{ADA}/quirks", {"moved_reason": "changed", "loop": "cycle"}),
            ("limits", {"retry_after_s": 7}),
        ):
            await client.http.patch(f"{control}/{path}", json=change)
        await client.http.post(
            f"{control}/mailboxes/{ADA}/expire_tokens", json={"answer": "sync_state_not_found"}
        )
        unknown = await client.http.patch(f"{control}/limits", json={"nothing": 1})
        expired = await client.get(link)

    assert client.mailbox.quirks.loop == "cycle"
    assert client.emulator.limits.retry_after_s == 7
    assert unknown.status_code == 404
    assert expired.json()["error"]["code"] == "SyncStateNotFound"


async def test_things_happen_in_the_mailboxes_by_themselves() -> None:
    async with graph_client(messages=40) as client:
        hierarchy_before = client.mailbox.last_change
        for _ in range(200):
            client.emulator.life.change(client.mailbox)

    assert client.mailbox.last_change >= hierarchy_before + 150
    assert {message.is_read for message in client.mailbox.messages.values()} == {True, False}


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """The providers' process, of which nobody has ordered anything yet."""
    command = [sys.executable, "-m", "emailsync.emulators.provider_host"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        yield started
        started.kill()


def test_it_runs_in_a_process_of_its_own(process: subprocess.Popen[str]) -> None:
    mailbox = {"email": ADA, "messages": 12, "seed": 1, "folders": ["Projects"]}
    order = {"tokens": {"t": ADA}, "graph": {"mailboxes": [mailbox], "changes_per_s": 50}}

    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    base_url = json.loads(process.stdout.readline())["graph"]
    headers = {"Authorization": "Bearer t"}
    listed = httpx.get(f"{base_url}/v1.0/me/messages?$top=50", headers=headers)

    assert len(listed.json()["value"]) >= 8
