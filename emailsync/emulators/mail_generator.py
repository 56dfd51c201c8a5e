"""A seeded generator of mail as it lies in a working person's mailbox.

A message is a pure function of seed and index, so any of them can be made alone, in any order and
in any process. The sizes follow a measured mailbox: median 7 KB, mean 26 KB, 4 % over 100 KB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from hashlib import blake2b
from random import Random

from emailsync.domain.mail import Flags
from emailsync.emulators.mail_bodies import Draft, write_body
from emailsync.emulators.mail_texts import LANGUAGES, PEOPLE, Language
from emailsync.emulators.mime_writer import header_text, mailbox_text

FIRST_SENT_AT = datetime(2023, 1, 2, 8, tzinfo=UTC)
MEAN_GAP = timedelta(minutes=23)  #: between two messages of one mailbox

#: A conversation lies within a block of consecutive messages, so that a message can name its
#: ancestors without anything being remembered.
BLOCK_MESSAGES = 12
REPLY_SHARE = 0.45

READ_SHARE = 0.8
STARRED_SHARE = 0.04
ANSWERED_SHARE = 0.2  #: of those read
FORWARDED_SHARE = 0.03
COPIED_SHARE = 0.2  #: sent to others too


@dataclass(frozen=True, slots=True)
class GeneratedMail:
    """A message as it lies in a mailbox."""

    raw: bytes  #: lines end with CRLF
    sent_at: datetime  #: aware; also the Date header
    flags: Flags  #: as the owner has left them


@dataclass(frozen=True, slots=True)
class _Conversation:
    """What all its messages share."""

    language: Language
    subject: str


def generate(
    seed: int, index: int, *, recipient: str, sent_at: datetime | None = None
) -> GeneratedMail:
    """Return the message `index` of the mailbox that `seed` stands for.

    Args:
        seed: at least 0.
        index: from 0; a higher one is a later message.
        recipient: the mailbox's address.
        sent_at: aware; None: by the index, some years back.
    """
    random = Random(f"message/{seed}/{index}")
    replied_to = ancestors(seed, index)
    conversation = _conversation(seed, replied_to[0] if replied_to else index)
    draft = Draft(
        random=random,
        language=conversation.language,
        charset=random.choice(conversation.language.charsets),
        subject="Re: " * bool(replied_to) + conversation.subject,
        recipient=recipient,
        sent_at=sent_at or FIRST_SENT_AT + (index + random.random()) * MEAN_GAP,
    )
    body = write_body(draft)
    date = format_datetime(draft.sent_at)
    header = [
        *_trace(draft, date),
        *_identity(seed, index, replied_to),
        *_envelope(draft, date),
        *body.header,
        "MIME-Version: 1.0",
        "",
    ]
    raw = "\r\n".join(header).encode() + body.entity
    return GeneratedMail(raw, draft.sent_at, _flags(random))


def ancestors(seed: int, index: int) -> Sequence[int]:
    """Return the messages that lead to this one by replies, the oldest first."""
    block, position = divmod(index, BLOCK_MESSAGES)
    parents = _parents(seed, block)
    chain: list[int] = []
    while (parent := parents[position]) is not None:
        chain.append(block * BLOCK_MESSAGES + parent)
        position = parent
    return chain[::-1]


@lru_cache(maxsize=64)
def _parents(seed: int, block: int) -> Sequence[int | None]:
    """Return for each message of a block the position that it answers, if any."""
    random = Random(f"block/{seed}/{block}")
    return [
        random.randrange(position) if position and random.random() < REPLY_SHARE else None
        for position in range(BLOCK_MESSAGES)
    ]


@lru_cache(maxsize=64)
def _conversation(seed: int, root: int) -> _Conversation:
    random = Random(f"conversation/{seed}/{root}")
    language = random.choice(LANGUAGES)
    return _Conversation(language, random.choice(language.subjects))


def message_id(seed: int, index: int) -> str:
    """Return the Message-ID of a message, in angle brackets."""
    unique = blake2b(f"{seed}/{index}".encode(), digest_size=10).hexdigest()
    return f"<{unique}.{index}@mail.example.com>"


def _identity(seed: int, index: int, replied_to: Sequence[int]) -> list[str]:
    """Return the headers that thread a message (RFC 5322 section 3.6.4)."""
    lines = [f"Message-ID: {message_id(seed, index)}"]
    if replied_to:
        references = [message_id(seed, ancestor) for ancestor in replied_to]
        lines += [f"In-Reply-To: {references[-1]}", "References: " + "\r\n ".join(references)]
    return lines


def _envelope(draft: Draft, date: str) -> list[str]:
    random = draft.random
    sender = random.choice(PEOPLE)
    lines = [
        f"Date: {date}",
        f"From: {mailbox_text(sender.name, sender.address)}",
        f"To: {mailbox_text('', draft.recipient)}",
        f"Subject: {header_text(draft.subject, draft.charset)}",
    ]
    if random.random() < COPIED_SHARE:
        copies = random.sample(PEOPLE, random.randint(1, 4))
        addresses = ",\r\n ".join(mailbox_text(person.name, person.address) for person in copies)
        lines.append(f"Cc: {addresses}")
    return lines


def _trace(draft: Draft, date: str) -> list[str]:
    """Return what the servers on the way have added."""
    signature = draft.random.randbytes(128).hex()
    return [
        "Return-Path: <bounce@example.com>",
        *(
            f"Received: from relay{hop}.example.com (relay{hop}.example.com [192.0.2.{hop}])\r\n"
            f"\tby mx.example.net with ESMTPS id {draft.random.getrandbits(48):012x}\r\n"
            f"\tfor <{draft.recipient}>; {date}"
            for hop in range(draft.random.randint(1, 4))
        ),
        "Authentication-Results: mx.example.net; dkim=pass header.d=example.com; spf=pass",
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=s1;\r\n"
        "\th=from:to:subject:date:message-id; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n"
        + "\r\n".join(f"\t b={signature[at : at + 64]}" for at in range(0, 256, 64)),
    ]


def _flags(random: Random) -> Flags:
    """Return the flags of a mailbox whose owner keeps up with most of it."""
    is_read = random.random() < READ_SHARE
    return Flags(
        is_read=is_read,
        is_starred=random.random() < STARRED_SHARE,
        is_answered=is_read and random.random() < ANSWERED_SHARE,
        keywords=("$Forwarded",) if random.random() < FORWARDED_SHARE else (),
    )
