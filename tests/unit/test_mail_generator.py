"""Generated mail is reproducible, well formed, and as large as real mail."""

import email
import email.policy
import re
from collections.abc import Sequence
from statistics import mean, median

import pytest

from emailsync.emulators.mail_generator import GeneratedMail, generate

ANNA = "anna@example.test"


@pytest.fixture(scope="module")
def mails() -> Sequence[GeneratedMail]:
    return [generate(7, index, recipient=ANNA) for index in range(3000)]


def test_the_same_seed_and_index_give_the_same_mail(mails: Sequence[GeneratedMail]) -> None:
    assert generate(7, 1234, recipient=ANNA) == mails[1234]


def test_another_seed_gives_other_mail(mails: Sequence[GeneratedMail]) -> None:
    assert generate(8, 1234, recipient=ANNA).raw != mails[1234].raw


def test_sizes_are_those_of_a_real_mailbox(mails: Sequence[GeneratedMail]) -> None:
    sizes = [len(mail.raw) for mail in mails]

    assert median(sizes) == pytest.approx(7_000, rel=0.1)
    assert mean(sizes) == pytest.approx(26_000, rel=0.2)
    assert sum(size > 100_000 for size in sizes) / len(sizes) == pytest.approx(0.041, abs=0.01)
    assert max(sizes) > 1_000_000


def test_mail_keeps_to_the_rules_of_the_format(mails: Sequence[GeneratedMail]) -> None:
    for mail in mails[:200]:
        parsed = email.message_from_bytes(mail.raw, policy=email.policy.default)
        parts = list(parsed.walk())

        assert not any(part.defects for part in parts)
        assert parsed["to"].addresses[0].addr_spec == ANNA
        assert parsed["date"].datetime.timestamp() == int(mail.sent_at.timestamp())
        assert "\ufffd" not in "".join(
            part.get_content() for part in parts if part.get_content_maintype() == "text"
        )


def test_lines_end_with_crlf_and_are_short_enough(mails: Sequence[GeneratedMail]) -> None:
    for mail in mails[:600]:
        lines = mail.raw.split(b"\r\n")

        assert max(map(len, lines)) <= 998
        assert not any(b"\n" in line or b"\r" in line for line in lines)


def test_replies_name_earlier_mail_of_the_mailbox(mails: Sequence[GeneratedMail]) -> None:
    seen: set[bytes] = set()
    replies = 0
    for mail in mails:
        head = mail.raw.split(b"\r\n\r\n", 1)[0]
        (message_id,) = re.findall(rb"^Message-ID: (\S+)", head, re.MULTILINE)
        references = re.search(rb"^References: (\S+(?:\r\n \S+)*)", head, re.MULTILINE)
        if references:
            replies += 1
            assert seen.issuperset(references.group(1).split())
        seen.add(message_id)

    assert len(seen) == len(mails)
    assert 0.2 < replies / len(mails) < 0.6


def test_a_mailbox_holds_every_kind_of_part_and_encoding(mails: Sequence[GeneratedMail]) -> None:
    for wanted in (
        b"text/calendar",
        b"text/html",
        b"Content-ID:",
        b"List-Unsubscribe:",
        b'charset="iso-2022-jp"',
        b'charset="koi8-r"',
        b'charset="iso-8859-1"',
        b"Content-Transfer-Encoding: 8bit",
        b"Content-Transfer-Encoding: quoted-printable",
        b"filename*=utf-8''",
    ):
        assert any(wanted in mail.raw for mail in mails), wanted


def test_most_mail_is_read_and_some_is_not(mails: Sequence[GeneratedMail]) -> None:
    read = sum(mail.flags.is_read for mail in mails)

    assert 0.7 < read / len(mails) < 0.9
    assert any(mail.flags.is_starred for mail in mails)
    assert any(mail.flags.is_answered for mail in mails)
