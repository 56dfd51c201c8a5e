"""Header blocks and header text."""

from datetime import UTC, datetime

import pytest

from emailsync.mime.dates import parse_date
from emailsync.mime.headers import MAX_HEADER_BYTES, decode_text, split_headers
from emailsync.mime.threading_keys import MAX_ID_CHARS, MAX_REFERENCES, threading_keys


@pytest.mark.parametrize("line_break", [b"\r\n", b"\n"])
def test_fields_are_grouped_by_name_unfolded_and_in_their_order(line_break: bytes) -> None:
    raw = b"Received: a\n\tb\nTO: x\nreceived:c\nEmpty:\n\nbody".replace(b"\n", line_break)

    block = split_headers(raw)

    assert block.fields == {"received": ["a b", "c"], "to": ["x"], "empty": [""]}
    assert raw[block.body_start :] == b"body"
    assert block.is_clean


@pytest.mark.parametrize(
    ("raw", "names", "body"),
    [
        (b"A: 1\r\nthis is no field\r\nB: 2\r\n\r\nx", ["a"], b"this is no field\r\nB: 2\r\n\r\nx"),
        (b"A: 1\r\n 2\r\n 3\r\nstray line\r\nx", ["a"], b"stray line\r\nx"),
        (b"From a@b Fri Jan 1\nA: 1\n>From c\nB: 2\n\nx", ["a", "b"], b"x"),
        (b"\r\nonly a body", [], b"only a body"),
        (b"A: 1\r\nB: 2", ["a", "b"], b""),
        (b"A: 1\n\r\nx", ["a"], b"x"),
        (b"", [], b""),
    ],
)
def test_the_body_begins_where_the_header_cannot_go_on(
    raw: bytes, names: list[str], body: bytes
) -> None:
    block = split_headers(raw)

    assert list(block.fields) == names
    assert raw[block.body_start :] == body


def test_a_header_over_the_limit_is_cut_and_its_body_still_found() -> None:
    raw = b"Subject: first\r\n" + b"X-Pad: " + b"a" * 1_000_000 + b"\r\nLast: x\r\n\r\nbody"

    block = split_headers(raw)

    assert block.fields["subject"] == ["first"]
    assert len(block.fields["x-pad"][0]) < MAX_HEADER_BYTES
    assert "last" not in block.fields
    assert raw[block.body_start :] == b"body"
    assert block.problem == "headers over 256 KiB"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?Q?h=C3=A9llo?= there", "héllo there"),
        (b"=?utf-8?B?w6TD?= =?UTF-8?B?tg==?=", "äö"),
        (b"=?utf-8?B?w6TD?=   =?utf-8?B?tg==?=", "äö"),
        (b"=?utf-8?B?w6TDtg?=", "äö"),
        (b"=?utf-8?Q?two words?=", "two words"),
        (b"=?gb2312?B?xOO6w4H6?=", "你好侜"),
        (b"=?iso-8859-1?Q?=80?=", "€"),
        (b"=?ks_c_5601-1987?B?x9Gx2w==?=", "한글"),
        (b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
        (b"=?foo-8?Q?=C3=A4?=", "ä"),
        (b"=?cp-850?Q?=84?=", "ä"),
        (b"=?utf-8*de?Q?=C3=A4?=", "ä"),
        (b"=?utf-8?Q?=ZZ?=", "=ZZ"),
        (b"=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
        (b"=?utf-8?Q?foo=0Abar?=", "foo bar"),
        (b"=?utf-8?Q?a=00b?=", "a\0b"),
        ("voilà".encode(), "voilà"),
        ("Größe".encode("latin-1"), "Größe"),
        (b"a =?utf-8?Q?b?= c =?utf-8?Q?d?=", "a b c d"),
        (b"", ""),
    ],
)
def test_header_text_is_decoded_as_meant(value: bytes, expected: str) -> None:
    assert decode_text(value.decode("latin-1")) == expected


@pytest.mark.parametrize("unit", ["=?", "=?a?q?", "=?utf-8?B?YQ==", "=?utf-8?Q?a?= ", "?="])
def test_hostile_repetition_in_header_text_is_read_in_linear_time(unit: str) -> None:
    decode_text(unit * (MAX_HEADER_BYTES // len(unit)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Fri, 1 Jan 2021 10:00:00 +0200", datetime(2021, 1, 1, 8, tzinfo=UTC)),
        ("1 Jan 2021 10:00:00 -0330 (NST)", datetime(2021, 1, 1, 13, 30, tzinfo=UTC)),
        ("Fri, 1 Jan 2021 10:00:00 -0000", datetime(2021, 1, 1, 10, tzinfo=UTC)),
        ("1 Jan 21 10:00 EST", datetime(2021, 1, 1, 15, tzinfo=UTC)),
        ("Fri, 1 Jan 0000 10:00:00 +0000", None),
        ("Thu, 1 Jan 1901 10:00:00 +0000", None),
        ("Fri, 31 Dec 9999 23:59:59 -1400", None),
        ("Mon, 31 Feb 2021 10:00:00 +0000", None),
        ("Mon, 1 Feb 2021 25:61:61 +9999", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        ("1 " * 100_000, None),
    ],
)
def test_a_date_is_an_instant_between_1970_and_2100_or_none(
    value: str | None, expected: datetime | None
) -> None:
    assert parse_date(value) == expected


def test_the_thread_key_is_the_root_then_the_parent_then_the_message_itself() -> None:
    own = {"message-id": ["<own@x>"]}
    reply = own | {"in-reply-to": ["Your message of Monday <parent@x>"]}
    deep = reply | {"references": ["<root@x>,<middle\r\n @x>\t<parent@x>"]}

    assert threading_keys({}).thread_key is None
    assert threading_keys(own).thread_key == "own@x"
    assert threading_keys(reply).thread_key == "parent@x"
    assert threading_keys(deep).thread_key == "root@x"
    assert threading_keys(deep).references == ("root@x", "middle@x", "parent@x")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<[a]@b>", "[a]@b"),
        ("bare@id", "bare@id"),
        ("<abc@", None),
        ("two words", None),
        ("<" + "a" * 5_000 + ">", "a" * MAX_ID_CHARS),
        ("<>", None),
        ("", None),
    ],
)
def test_odd_message_ids_are_taken_as_they_are_or_not_at_all(
    value: str, expected: str | None
) -> None:
    assert threading_keys({"message-id": [value]}).message_id == expected


def test_of_many_references_the_root_and_the_nearest_remain() -> None:
    value = " ".join(f"<{number}@x>" for number in range(10_000))

    keys = threading_keys({"references": [value]})

    assert len(keys.references) == MAX_REFERENCES
    assert (keys.references[0], keys.references[-1]) == ("0@x", "9999@x")
