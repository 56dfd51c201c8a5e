"""Secrets at rest and in memory: the wrapper that does not print, the key file, AES-256-GCM.

A stored credential is `v1|key id|nonce|ciphertext` and is bound to its tenant, account and column,
so a blob copied into another row does not open. Knows files of secrets, not who asks for them.

* SecretError
    * SecretFileError       a file of keys or tokens is missing, readable by others, or malformed
    * DecryptionFailed      the blob is not ours, was altered, or belongs to another row
        * UnknownKey        it was encrypted under a key that is not in the key file
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn, Self, SupportsIndex

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from emailsync.domain.accounts import AccountKey

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12  #: random for each write: NIST SP 800-38D allows 2**32 of them a key
VERSION: Final = b"v1"
KEY_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
OTHERS: Final = stat.S_IROTH | stat.S_IWOTH | stat.S_IXOTH
GROUP_OR_OTHERS: Final = OTHERS | stat.S_IRGRP | stat.S_IWGRP | stat.S_IXGRP


class SecretError(Exception):
    """A secret cannot be had; the message never holds one."""


class SecretFileError(SecretError):
    """A file of secrets is missing, readable by others, or malformed."""


class DecryptionFailed(SecretError):
    """The ciphertext does not belong here, or somebody altered it."""


class UnknownKey(DecryptionFailed):
    """The ciphertext names a key that the key file does not hold."""


class Secret:
    """A string that shows itself only to `reveal()`: not to print, logs, JSON, pickle or copies."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret in clear. Every call of this is a place to look at in a review."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(
            self._value.encode("utf-8", "surrogatepass"),
            other._value.encode("utf-8", "surrogatepass"),
        )

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Secret is not serialised")


def token_hash(token: bytes) -> bytes:
    """Return what is kept of a bearer token. It is random, so a slow hash would add nothing."""
    return hashlib.sha256(token).digest()


class KeyRing:
    """The keys that open stored credentials; the first one closes them."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.newest: Final = next(iter(self._ciphers))  #: id of the key that encrypts

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key file: `id:base64 of 32 bytes` a line; blank lines and `#` comments are free.

        Raises:
            SecretFileError: naming the line and what is wrong with it, never its content.
        """
        keys: dict[str, bytes] = {}
        for number, line in enumerate(read_secret_file(path).splitlines(), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                key_id, key = _parse_key(line.strip())
            except ValueError as exc:
                raise SecretFileError(f"{path}, line {number}: {exc}") from None
            if key_id in keys:
                raise SecretFileError(f"{path}, line {number}: key id {key_id!r} is there twice")
            keys[key_id] = key
        if not keys:
            raise SecretFileError(f"{path} holds no key; write one line: id:base64 of 32 bytes")
        return cls(keys)

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._ciphers

    def encrypt(self, plaintext: bytes, key: AccountKey, column: str) -> bytes:
        """Return `plaintext` as a blob that opens only for this account and column."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        associated = _associated_data(key, column, self.newest)
        ciphertext = self._ciphers[self.newest].encrypt(nonce, plaintext, associated)
        return b"|".join((VERSION, self.newest.encode(), nonce, ciphertext))

    def decrypt(self, blob: bytes, key: AccountKey, column: str) -> bytes:
        """Return what was encrypted for this account and column.

        Raises:
            UnknownKey: the key is not in the key file.
            DecryptionFailed: the blob is damaged, altered, or another row's.
        """
        key_id, nonce, ciphertext = _split(blob)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise UnknownKey(f"the credentials need key {key_id!r}, which the key file lacks")
        try:
            return cipher.decrypt(nonce, ciphertext, _associated_data(key, column, key_id))
        except InvalidTag:
            raise DecryptionFailed(
                f"the credentials were altered, or are another account's (key {key_id!r})"
            ) from None


def key_id_of(blob: bytes) -> str:
    """Return the id of the key that a blob was encrypted under.

    Raises:
        DecryptionFailed: it is no blob of ours.
    """
    return _split(blob)[0]


def read_secret_file(path: Path) -> str:
    """Return the text of a file that only we may read.

    The permissions are those of the open file, not of a name that could be exchanged meanwhile.

    Raises:
        SecretFileError: missing, owned by somebody else, readable by others, or not ASCII.
    """
    try:
        with path.open("rb") as file:
            _refuse_shared(path, os.fstat(file.fileno()))
            return file.read().decode("ascii")
    except OSError as exc:
        raise SecretFileError(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError:
        raise SecretFileError(f"{path} is not a text file of ASCII lines") from None


def create_secret_file(path: Path, text: str) -> None:
    """Write a new file that only we may read; never over an existing one, never half of it.

    Raises:
        SecretFileError: it exists, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # fails where a rename would overwrite
        finally:
            temporary.unlink()
    except OSError as exc:
        raise SecretFileError(f"{path} cannot be written: {exc.strerror}") from exc


def generate_key_file(path: Path) -> None:
    """Make a key file with one fresh key, readable by us alone.

    Raises:
        SecretFileError: it exists, or the folder cannot be written.
    """
    key = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")
    create_secret_file(path, f"key-{secrets.token_hex(4)}:{key}\n")


def _parse_key(line: str) -> tuple[str, bytes]:
    key_id, separator, encoded = line.partition(":")
    if not separator or not KEY_ID.fullmatch(key_id):
        raise ValueError("expected id:base64, the id of letters, digits, '.', '_' and '-'")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError("what follows the colon is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key has {len(key)} bytes instead of {KEY_BYTES}")
    return key_id, key


def _split(blob: bytes) -> tuple[str, bytes, bytes]:
    """Take a blob apart; the nonce is cut by length, since it may hold any byte."""
    version, _, rest = blob.partition(b"|")
    key_id, _, tail = rest.partition(b"|")
    whole = version == VERSION and KEY_ID.fullmatch(key_id.decode("latin-1"))
    if not whole or tail[NONCE_BYTES : NONCE_BYTES + 1] != b"|":
        raise DecryptionFailed("the stored credentials are not in the form v1|key id|nonce|text")
    return key_id.decode("ascii"), tail[:NONCE_BYTES], tail[NONCE_BYTES + 1 :]


def _associated_data(key: AccountKey, column: str, key_id: str) -> bytes:
    """Name the row; each part carries its length, so no two rows share a spelling."""
    parts = (key.tenant_id, str(key.account_id), column, key_id)
    encoded = [part.encode("utf-8") for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def _refuse_shared(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise SecretFileError(f"{path} belongs to another user; it must be ours or root's")
    # systemd hands a credential over by an ACL, whose mask shows as the group's permission.
    from_systemd = str(path.parent) == os.environ.get("CREDENTIALS_DIRECTORY")
    if status.st_mode & (OTHERS if from_systemd else GROUP_OR_OTHERS):
        mode = stat.S_IMODE(status.st_mode)
        raise SecretFileError(f"{path} is open to others (mode {mode:04o}): chmod 600 {path}")
