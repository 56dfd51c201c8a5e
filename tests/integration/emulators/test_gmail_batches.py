"""What the Gmail API documents of batches, asked of the emulator on a real socket."""

import json

import pytest

from emailsync.emulators.faults import Failure, Fault
from emailsync.emulators.gmail.errors import as_fault, user_rate_limit_exceeded
from gmail_wire import BATCH, ME, GmailOnTheWire, parts_of

RAW = b"Subject: Hello\r\n\r\n"


async def test_each_call_of_a_batch_is_answered_under_its_own_name(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(RAW)

    parts = await gmail.batch([f"/messages/{message}?format=raw", "/messages/0", "/labels"])

    assert {name: part.status for name, part in parts.items()} == {"0": 200, "1": 404, "2": 200}
    assert json.loads(parts["0"].body)["id"] == message
    assert parts["0"].headers["content-type"] == "application/json; charset=utf-8"


async def test_the_address_that_the_official_client_uses_works_too(gmail: GmailOnTheWire) -> None:
    parts = await gmail.batch(["/profile"], url="/batch")

    assert parts["0"].status == 200


async def test_answers_come_in_any_order(gmail: GmailOnTheWire) -> None:
    answer = await gmail.post_batch(["/labels"] * 20)

    names = [name for name, _ in parts_of(answer)]
    assert names != sorted(names, key=int)
    assert sorted(names, key=int) == [str(number) for number in range(20)]


async def test_a_batch_of_more_than_100_calls_is_refused(gmail: GmailOnTheWire) -> None:
    gmail.emulator.behaviour.concurrent_calls = None

    most = await gmail.post_batch(["/labels"] * 100)
    too_many = await gmail.post_batch(["/labels"] * 101)

    assert (most.status_code, too_many.status_code) == (200, 400)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", "{}"),
        ("multipart/mixed", "--B--"),
        ("multipart/mixed; boundary=B", "--B--"),
        ("multipart/mixed; boundary=B", "--B\r\nContent-Type: application/http\r\n\r\nGET /"),
        ("multipart/mixed; boundary=B", "--B\r\nContent-Type: text/plain\r\n\r\nGET /\r\n--B--"),
    ],
)
async def test_what_is_no_batch_is_refused(
    gmail: GmailOnTheWire, content_type: str, body: str
) -> None:
    answer = await gmail.client.post(BATCH, content=body, headers={"Content-Type": content_type})

    assert answer.status_code == 400


async def test_lines_may_end_without_a_carriage_return(gmail: GmailOnTheWire) -> None:
    """Python's email package writes them so, and with it Google's own client."""
    body = (
        "--==B==\nContent-Type: application/http\nMIME-Version: 1.0\nContent-ID: <id + 1>\n\n"
        f"GET {ME}/profile HTTP/1.1\nAccept: application/json\n\n\n--==B==--"
    )

    answer = await gmail.client.post(
        BATCH, content=body, headers={"Content-Type": 'multipart/mixed; boundary="==B=="'}
    )

    ((name, part),) = parts_of(answer)
    assert (name, part.status) == ("id + 1", 200)


async def test_a_call_may_bring_a_token_of_its_own(gmail: GmailOnTheWire) -> None:
    body = (
        f"--B\r\nContent-Type: application/http\r\nContent-ID: <0>\r\n\r\nGET {ME}/profile\r\n"
        "Authorization: Bearer nobody\r\n\r\n--B--"
    )

    answer = await gmail.client.post(
        BATCH, content=body, headers={"Content-Type": "multipart/mixed; boundary=B"}
    )

    assert parts_of(answer)[0][1].status == 401


@pytest.mark.parametrize("by_part", [True, False])
async def test_a_bad_token_is_refused_part_by_part_or_at_once(
    gmail: GmailOnTheWire, *, by_part: bool
) -> None:
    gmail.emulator.behaviour.batch_parts_refuse_tokens = by_part
    gmail.client.headers["Authorization"] = "Bearer expired"

    answer = await gmail.post_batch(["/labels", "/profile"])

    if by_part:
        assert [part.status for _, part in parts_of(answer)] == [401, 401]
    else:
        assert answer.status_code == 401


async def test_calls_cost_as_much_as_alone(gmail: GmailOnTheWire) -> None:
    message = gmail.mailbox.deliver(RAW)

    await gmail.batch([f"/messages/{message}"] * 3)

    assert gmail.emulator.usage.units == 60
    assert gmail.emulator.usage.calls == {"messages.get": 3}
    assert gmail.emulator.usage.requests == {"POST /batch/gmail/v1": 1}


async def test_calls_beyond_the_quota_are_refused_one_by_one(gmail: GmailOnTheWire) -> None:
    gmail.emulator.quota.user_units_per_minute = 50
    message = gmail.mailbox.deliver(RAW)

    parts = await gmail.batch([f"/messages/{message}"] * 4)

    assert sorted(part.status for part in parts.values()) == [200, 200, 429, 429]
    assert gmail.emulator.usage.throttled == 2


async def test_calls_beyond_the_concurrency_wall_are_refused_one_by_one(
    gmail: GmailOnTheWire,
) -> None:
    gmail.emulator.behaviour.concurrent_calls = 30

    parts = await gmail.batch(["/labels"] * 40)

    refused = [json.loads(part.body)["error"] for part in parts.values() if part.status != 200]
    assert len(refused) == 10
    assert {error["message"] for error in refused} == {"Too many concurrent requests for user"}
    assert gmail.emulator.usage.peak_running == {gmail.mailbox.address: 30}


async def test_single_calls_fail_on_order(gmail: GmailOnTheWire) -> None:
    fault = as_fault(user_rate_limit_exceeded(), on="GET .*/labels", calls=[2])
    gmail.emulator.faults.add(fault, Fault(on="/profile", failure=Failure.HTML))

    parts = await gmail.batch(["/labels", "/labels", "/profile"])

    assert [parts[name].status for name in ("0", "1", "2")] == [200, 403, 200]
    assert parts["2"].headers["content-type"].startswith("text/html")


async def test_a_whole_batch_fails_on_order(gmail: GmailOnTheWire) -> None:
    gmail.emulator.faults.add(Fault(on="POST /batch", status=503))

    answer = await gmail.post_batch(["/labels"])

    assert answer.status_code == 503


async def test_what_is_no_method_is_404(gmail: GmailOnTheWire) -> None:
    parts = await gmail.batch(["/threads", "/messages/1/2/3/4"])

    assert {part.status for part in parts.values()} == {404}


async def test_an_answer_to_a_batch_may_be_compressed(gmail: GmailOnTheWire) -> None:
    plain = await gmail.post_batch(["/labels"])
    gmail.emulator.behaviour.gzip_batches = True
    compressed = await gmail.post_batch(["/labels"])

    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert parts_of(compressed)[0][1].status == 200
