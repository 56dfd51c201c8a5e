"""Stored credentials open only where they belong, and secrets show themselves to nobody."""

import base64
import copy
import json
import os
import pickle
import stat
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from emailsync.crypto import (
    NONCE_BYTES,
    DecryptionFailed,
    KeyRing,
    Secret,
    SecretFileError,
    UnknownKey,
    create_secret_file,
    generate_key_file,
    key_id_of,
    read_secret_file,
)
from emailsync.domain.accounts import AccountId, AccountKey, TenantId

RING = KeyRing({"new": b"n" * 32, "old": b"o" * 32})
ALICE = AccountKey(TenantId("alice"), AccountId(UUID(int=1)))
BOB = AccountKey(TenantId("bob"), AccountId(UUID(int=1)))
KEY_LINE = "k1:" + base64.b64encode(b"k" * 32).decode()


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_what_was_encrypted_is_read_again() -> None:
    blob = RING.encrypt(b"hunter2", ALICE, "credentials")

    assert RING.decrypt(blob, ALICE, "credentials") == b"hunter2"
    assert blob.startswith(b"v1|new|")
    assert key_id_of(blob) == "new"


@pytest.mark.parametrize(
    ("key", "column"),
    [
        (BOB, "credentials"),
        (AccountKey(ALICE.tenant_id, AccountId(UUID(int=2))), "credentials"),
        (ALICE, "token"),
        (AccountKey(TenantId("alic"), ALICE.account_id), "ecredentials"),
    ],
)
def test_a_blob_moved_to_another_row_is_refused(key: AccountKey, column: str) -> None:
    blob = RING.encrypt(b"hunter2", ALICE, "credentials")

    with pytest.raises(DecryptionFailed):
        RING.decrypt(blob, key, column)


def test_each_flipped_bit_is_noticed() -> None:
    blob = RING.encrypt(b"hunter2", ALICE, "credentials")

    for bit in range(len(blob) * 8):
        altered = bytearray(blob)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecryptionFailed):
            RING.decrypt(bytes(altered), ALICE, "credentials")


def test_each_cut_blob_is_refused() -> None:
    blob = RING.encrypt(b"hunter2", ALICE, "credentials")

    for length in range(len(blob)):
        with pytest.raises(DecryptionFailed):
            RING.decrypt(blob[:length], ALICE, "credentials")


def test_nonces_do_not_repeat() -> None:
    start = len(b"v1|new|")

    blobs = (RING.encrypt(b"", ALICE, "credentials") for _ in range(100_000))
    nonces = {blob[start : start + NONCE_BYTES] for blob in blobs}

    assert len(nonces) == 100_000


def test_an_older_key_still_decrypts_and_a_dropped_one_is_named() -> None:
    blob = KeyRing({"old": b"o" * 32}).encrypt(b"hunter2", ALICE, "credentials")

    assert RING.decrypt(blob, ALICE, "credentials") == b"hunter2"
    with pytest.raises(UnknownKey, match="'old'"):
        KeyRing({"new": b"n" * 32}).decrypt(blob, ALICE, "credentials")


def test_the_first_key_of_the_file_encrypts(tmp_path: Path) -> None:
    second = "k2:" + base64.b64encode(b"2" * 32).decode()
    path = write(tmp_path / "keys", f"# comment\n\n{KEY_LINE}\n  {second}\n")

    ring = KeyRing.load(path)

    assert ring.newest == "k1"
    assert "k2" in ring


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key"),
        ("nonsense", "line 1: expected id:base64"),
        (f"{KEY_LINE}\na b:x", "line 2: expected id:base64"),
        ("k1:!!!!", "line 1: what follows the colon is not base64"),
        ("k1:AAAA", "line 1: the key has 3 bytes instead of 32"),
        (f"{KEY_LINE}\n{KEY_LINE}", "line 2: key id 'k1' is there twice"),
        ("k1:ünïcode", "not a text file of ASCII lines"),
    ],
)
def test_a_malformed_key_file_names_the_line_and_not_its_content(
    tmp_path: Path, text: str, message: str
) -> None:
    path = write(tmp_path / "keys", text)

    with pytest.raises(SecretFileError, match=message) as refused:
        KeyRing.load(path)

    assert KEY_LINE[3:] not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o606, 0o644, 0o610, 0o777])
def test_a_key_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "keys", KEY_LINE, mode)

    with pytest.raises(SecretFileError, match="chmod 600"):
        KeyRing.load(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_key_file_is_read(tmp_path: Path, mode: int) -> None:
    assert KeyRing.load(write(tmp_path / "keys", KEY_LINE, mode)).newest == "k1"


def test_a_key_file_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may give a file away; anybody else has to become somebody else."""
    path = write(tmp_path / "keys", KEY_LINE)
    if os.geteuid() == 0:
        os.chown(path, 12_345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)

    with pytest.raises(SecretFileError, match="another user"):
        KeyRing.load(path)


def test_a_credential_handed_over_by_systemd_may_show_its_acl_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert KeyRing.load(write(tmp_path / "keys", KEY_LINE, 0o440)).newest == "k1"
    with pytest.raises(SecretFileError, match="open to others"):
        KeyRing.load(write(tmp_path / "keys2", KEY_LINE, 0o444))


def test_a_missing_key_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match="No such file"):
        KeyRing.load(tmp_path / "none")


def test_a_generated_key_file_is_private_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys"

    generate_key_file(path)
    content = path.read_text()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing.load(path).newest.startswith("key-")
    with pytest.raises(SecretFileError, match="File exists"):
        generate_key_file(path)
    assert path.read_text() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys"]


def test_a_secret_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match="cannot be written"):
        create_secret_file(tmp_path / "none" / "token", "x")
    create_secret_file(tmp_path / "token", "x")
    assert read_secret_file(tmp_path / "token") == "x"


def test_a_secret_is_shown_by_nothing_but_reveal() -> None:
    @dataclass
    class Holder:
        password: Secret

    secret = Secret("hunter2")

    shown = [
        str(secret),
        repr(secret),
        f"{secret:>20}",
        f"{secret!r}",
        repr(Holder(secret)),
        repr([secret]),
    ]
    shown.append(json.dumps({"p": secret}, default=repr))

    assert "hunter2" not in "".join(shown)
    assert secret.reveal() == "hunter2"


@pytest.mark.parametrize("serialise", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_a_secret_is_not_serialised_by_accident(serialise: object) -> None:
    assert callable(serialise)

    with pytest.raises(TypeError):
        serialise(Secret("hunter2"))


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("\ud800")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
