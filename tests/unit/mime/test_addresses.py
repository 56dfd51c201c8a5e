"""Address lists, from the grammar of RFC 5322 to what arrives."""

import pytest

from emailsync.domain.mail import Address
from emailsync.mime.addresses import MAX_ADDRESSES, parse_addresses


def raw(value: str) -> str:
    """Return the header value as it is handed over: one character a byte."""
    return value.encode().decode("latin-1")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@b.example", [("", "a@b.example")]),
        ("<a@b.example>", [("", "a@b.example")]),
        ("Ann <a@b.example>", [("Ann", "a@b.example")]),
        ('"Doe, Jane" <j@d.example>, b@c.example',
         [("Doe, Jane", "j@d.example"), ("", "b@c.example")]),
        ('"Doe \\"JD\\" Jane" <j@d.example>', [('Doe "JD" Jane', "j@d.example")]),
        ("=?utf-8?Q?Doe=2C_J=C3=A4ne?= <j@d.example>", [("Doe, Jäne", "j@d.example")]),
        ("=?utf-8?Q?Doe,_Jane?= <j@d.example>", [("Doe, Jane", "j@d.example")]),
        ('"=?utf-8?B?SsO2cmc=?=" <j@d.example>', [("Jörg", "j@d.example")]),
        ("Jörg Groß <j@d.example>", [("Jörg Groß", "j@d.example")]),
        ("team: a@b.example, Bo <b@c.example>;, c@d.example",
         [("", "a@b.example"), ("Bo", "b@c.example"), ("", "c@d.example")]),
        ("undisclosed-recipients:;", []),
        ("a@b.example (Ann (the first))", [("Ann (the first)", "a@b.example")]),
        ("root (Cron Daemon)", [("Cron Daemon", "root")]),
        ("(only a comment)", []),
        ("Ann", [("", "Ann")]),
        ("Ann and Bob", [("Ann and Bob", "")]),
        ("Ann <>", [("Ann", "")]),
        ("<>", []),
        ("", []),
        (", ,;", []),
        ("<@relay.example,@other.example:a@b.example>", [("", "a@b.example")]),
        ("a @ b.example", [("", "a@b.example")]),
        ('"odd local"@b.example', [("", '"odd local"@b.example')]),
        ("Ann <a@b.example", [("Ann", "a@b.example")]),
        ('"Ann <a@b.example>', [("Ann", "a@b.example")]),
        ("Ann (never closed <a@b.example>", [("Ann never closed", "a@b.example")]),
        ("a@b.example; c@d.example", [("", "a@b.example"), ("", "c@d.example")]),
        ("Ann <a@b.example> Bob <c@d.example>", [("Ann Bob", "a@b.example")]),
    ],
)  # fmt: skip
def test_addresses_are_read_as_people_mean_them(
    value: str, expected: list[tuple[str, str]]
) -> None:
    addresses, complete = parse_addresses([raw(value)])

    assert addresses == [Address(name, address) for name, address in expected]
    assert complete


def test_an_attack_by_addresses_is_cut_and_named() -> None:
    addresses, complete = parse_addresses([", ".join(f"a{i}@b.example" for i in range(16_000))])

    assert len(addresses) == MAX_ADDRESSES
    assert not complete


@pytest.mark.parametrize("unit", ['"\\', "(", "<", '"', "=?a?q?", "a:", "<a ", "(\\", ",", "> "])
def test_hostile_repetition_is_read_in_linear_time(unit: str) -> None:
    """64 KiB of it: a quadratic step would run into the timeout of the whole suite."""
    addresses, _ = parse_addresses([unit * (64 * 1024 // len(unit))])

    assert len(addresses) <= MAX_ADDRESSES
