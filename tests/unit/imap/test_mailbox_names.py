"""Mailbox names from the wire, held against an encoder written from the RFC for this test only."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emailsync.providers.imap.mailbox_names import decode_name
from emailsync.providers.imap.wire_strings import Literal, wire_string


def encoded(name: str) -> bytes:
    """Return the name in modified UTF-7 (RFC 3501 section 5.1.3)."""

    def shifted(run: re.Match[str]) -> str:
        letters = base64.b64encode(run[0].encode("utf-16-be"), altchars=b"+,").decode()
        return f"&{letters.rstrip('=')}-"

    return re.sub(r"[^\x20-\x7e]+", shifted, name.replace("&", "&-")).encode("ascii")


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"INBOX", "INBOX"),
        (b"Entw&APw-rfe", "Entwürfe"),
        (b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
        (b"R&-D", "R&D"),
        (b"&2D3eAA-", "😀"),
    ],
)
def test_names_are_modified_utf_7_on_the_wire(raw: bytes, name: str) -> None:
    """RFC 3501 section 5.1.3 with its examples."""
    assert decode_name(raw) == name
    assert encoded(name) == raw


@pytest.mark.parametrize("raw", [b"&", b"a&b", b"&!!!-", b"&2D0-", b"&AP"])
def test_what_is_no_modified_utf_7_stays_as_it_was_sent(raw: bytes) -> None:
    assert decode_name(raw) == raw.decode()


def test_raw_8_bit_names_are_utf_8_or_else_latin_1() -> None:
    assert decode_name("Entwürfe".encode()) == "Entwürfe"
    assert decode_name("Entwürfe".encode("latin-1")) == "Entwürfe"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_name_survives_the_way_there_and_back(name: str) -> None:
    assert decode_name(encoded(name)) == name


@given(st.binary())
def test_decoding_never_raises(raw: bytes) -> None:
    assert isinstance(decode_name(raw), str)


def test_plain_names_are_quoted_and_their_specials_escaped() -> None:
    assert wire_string(b"a b") == '"a b"'
    assert wire_string(rb'say "\o/"') == r'"say \"\\o/\""'
    assert wire_string(b"") == '""'


def test_names_with_8_bit_become_literals() -> None:
    name = wire_string("Entwürfe".encode())

    assert isinstance(name, Literal)
    assert str(name) == "{9}"


@pytest.mark.parametrize("raw", [b"a\rb", b"a\nb", b"a\0b", b'x" \r\nA1 DELETE "INBOX'])
def test_a_name_that_could_hold_another_command_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="CR, LF and NUL"):
        wire_string(raw)
