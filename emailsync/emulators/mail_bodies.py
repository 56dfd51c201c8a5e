"""The kinds of mail that fill a mailbox, each written as the programs that send it write it."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from html import escape
from math import exp, log
from random import Random

from emailsync.emulators.mail_texts import ATTACHMENT_NAMES, PARAGRAPH_SENTENCES, Language
from emailsync.emulators.mime_writer import (
    CRLF,
    LINE_BYTES,
    base64_lines,
    file_part,
    multipart,
    text_part,
)

#: Base64 bytes of an attachment of random bytes, which no compression makes smaller.
ATTACHMENT_BYTES = (100_000, 1_200_000)
ATTACHMENT_SHARE = 0.037

BODY_MEDIAN_BYTES = 2_300
BODY_SPREAD = 0.9  #: standard deviation of the logarithm
BODY_BYTES = (80, 60_000)

_POOL_BYTES = 2_000_000
_LINE_BYTES = LINE_BYTES + len(CRLF)
_PIXEL = base64_lines(
    base64.b64decode(
        b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
        b"AABJRU5ErkJggg=="
    )
)


@dataclass(frozen=True, slots=True)
class Draft:
    """What is decided of a message before its body is written."""

    random: Random
    language: Language
    charset: str
    subject: str
    recipient: str
    sent_at: datetime

    def text(self) -> str:
        """Return paragraphs of a size as people write them."""
        smallest, largest = BODY_BYTES
        size = exp(self.random.gauss(log(BODY_MEDIAN_BYTES), BODY_SPREAD))
        count = round(min(max(size, smallest), largest) / self.language.sentence_length)
        paragraphs = [self.random.choice(self.language.sentences)]
        paragraphs += self.random.choices(self.language.paragraphs, k=count // PARAGRAPH_SENTENCES)
        return "\n\n".join(paragraphs) + "\n"

    def boundary(self) -> str:
        """Return a separator that occurs nowhere else."""
        return f"=_{self.random.getrandbits(80):020x}"


@dataclass(frozen=True, slots=True)
class Body:
    """A MIME entity, and what this kind of mail adds to the message's header."""

    entity: bytes  #: from its Content-Type on
    header: tuple[str, ...] = ()


def write_body(draft: Draft) -> Body:
    """Return a body of a kind drawn as often as it is met."""
    (write,) = draft.random.choices(list(_KINDS), cum_weights=_CUMULATIVE)
    return write(draft)


def _plain(draft: Draft) -> Body:
    return Body(_text(draft, draft.text(), "plain"))


def _alternative(draft: Draft) -> Body:
    text = draft.text()
    parts = [_text(draft, text, "plain"), _text(draft, _html(draft.subject, text), "html")]
    return Body(multipart("alternative", draft.boundary(), parts))


def _newsletter(draft: Draft) -> Body:
    links = "".join(
        f'<tr><td style="padding:8px 16px;font-family:Arial,sans-serif"><a href="https://news.'
        f'example.com/c/{draft.random.getrandbits(128):032x}?u={number}&amp;m=1">Read on</a>'
        "</td></tr>\n"
        for number in range(draft.random.randint(8, 60))
    )
    page = _html(draft.subject, draft.text()).replace("</body>", f"<table>{links}</table></body>")
    parts = [_text(draft, draft.text()[:600], "plain"), _text(draft, page, "html")]
    unsubscribe = f"https://news.example.com/u/{draft.random.getrandbits(64):016x}"
    header = (
        "List-Id: Example News <news.example.com>",
        f"List-Unsubscribe: <{unsubscribe}>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "Precedence: bulk",
    )
    return Body(multipart("alternative", draft.boundary(), parts), header)


def _notification(draft: Draft) -> Body:
    header = ("Auto-Submitted: auto-generated", "X-Priority: 3")
    return Body(_text(draft, _html(draft.subject, draft.text()), "html"), header)


def _inline_image(draft: Draft) -> Body:
    content_id = f"image{draft.random.getrandbits(32):08x}@example.com"
    page = _html(draft.subject, draft.text()).replace(
        "</body>", f'<img src="cid:{content_id}" alt=""></body>'
    )
    image = file_part("image001.png", "image/png", _PIXEL, content_id=content_id)
    related = multipart("related", draft.boundary(), [_text(draft, page, "html"), image])
    parts = [_text(draft, draft.text(), "plain"), related]
    return Body(multipart("alternative", draft.boundary(), parts))


def _invitation(draft: Draft) -> Body:
    starts_at = draft.sent_at + timedelta(days=draft.random.randint(1, 30))
    lines = (
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Example//Calendar//EN",
        "METHOD:REQUEST",
        "BEGIN:VEVENT",
        f"UID:{draft.random.getrandbits(64):016x}@example.com",
        f"DTSTAMP:{draft.sent_at:%Y%m%dT%H%M%SZ}",
        f"DTSTART:{starts_at:%Y%m%dT%H%M%SZ}",
        f"DTEND:{starts_at + timedelta(hours=1):%Y%m%dT%H%M%SZ}",
        f"SUMMARY:{draft.subject}",
        f"ATTENDEE;RSVP=TRUE:mailto:{draft.recipient}",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    )
    calendar = text_part("\n".join(lines), "calendar; method=REQUEST", "utf-8", "base64")
    parts = [_text(draft, draft.text(), "plain"), calendar]
    return Body(multipart("alternative", draft.boundary(), parts))


def _with_attachment(draft: Draft) -> Body:
    smallest, largest = ATTACHMENT_BYTES
    size = exp(draft.random.uniform(log(smallest), log(largest)))
    name, content_type = draft.random.choice(ATTACHMENT_NAMES)
    attachment = file_part(name, content_type, _random_lines(draft.random, round(size)))
    return Body(
        multipart("mixed", draft.boundary(), [_text(draft, draft.text(), "plain"), attachment])
    )


def _random_lines(random: Random, size: int) -> bytes:
    """Return about `size` bytes of base64 lines: a slice of a pool, since making them is slow."""
    lines = size // _LINE_BYTES
    first = random.randrange(len(_pool()) // _LINE_BYTES - lines)
    return _pool()[first * _LINE_BYTES : (first + lines) * _LINE_BYTES]


@lru_cache(maxsize=1)
def _pool() -> bytes:
    return base64_lines(Random(0).randbytes(_POOL_BYTES))


def _text(draft: Draft, text: str, subtype: str) -> bytes:
    """Return a text part in an encoding that is met with its character set."""
    if draft.charset in {"us-ascii", "iso-2022-jp"}:  # seven bits, by their nature
        return text_part(text, subtype, draft.charset, draft.random.choice(_SEVEN_BIT))
    return text_part(text, subtype, draft.charset, draft.random.choice(_EIGHT_BIT))


_SEVEN_BIT = ("7bit", "7bit", "quoted-printable")
_EIGHT_BIT = ("quoted-printable", "quoted-printable", "base64", "8bit")


def _html(title: str, text: str) -> str:
    paragraphs = escape(text, quote=False).replace("\n\n", "</p>\n<p class='text'>")
    return (
        "<!DOCTYPE html>\n<html><head><meta http-equiv='Content-Type' content='text/html'>"
        f"<title>{escape(title)}</title>\n<style>.text {{ margin: 0 0 12px; color: #222 }}</style>"
        f"</head>\n<body><p class='text'>{paragraphs}</p>\n</body></html>\n"
    )


_KINDS: dict[Callable[[Draft], Body], float] = {
    _plain: 0.36,
    _alternative: 0.25,
    _newsletter: 0.14,
    _notification: 0.12,
    _inline_image: 0.05,
    _invitation: 0.043,
    _with_attachment: ATTACHMENT_SHARE,
}
_CUMULATIVE = [sum(list(_KINDS.values())[: at + 1]) for at in range(len(_KINDS))]
