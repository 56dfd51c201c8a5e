"""Credentials as their column holds them: sealed under the newest key, for one account alone."""

from collections.abc import Mapping
from typing import Final

import orjson

from emailsync.crypto import DecryptionFailed, KeyRing, Secret, UnknownKey
from emailsync.domain.accounts import AccountKey
from emailsync.domain.errors import Misconfigured, OperatorMustAct

COLUMN: Final = "credentials"  #: which the ciphertext is bound to


def seal_credentials(keys: KeyRing, key: AccountKey, credentials: Mapping[str, Secret]) -> bytes:
    """Return the credentials as the column holds them."""
    clear = orjson.dumps({name: secret.reveal() for name, secret in credentials.items()})
    return keys.encrypt(clear, key, COLUMN)


def open_credentials(keys: KeyRing, key: AccountKey, sealed: bytes | None) -> dict[str, Secret]:
    """Return what `seal_credentials` was given; no column, no credentials.

    Raises:
        OperatorMustAct: the key file lacks their key.
        Misconfigured: they were altered, or are another account's.
    """
    if sealed is None:
        return {}
    try:
        clear = orjson.loads(keys.decrypt(sealed, key, COLUMN))
    except UnknownKey as error:
        raise OperatorMustAct(str(error)) from error
    except DecryptionFailed as error:
        raise Misconfigured(str(error)) from error
    return {name: Secret(value) for name, value in clear.items()}


def seal_anew(keys: KeyRing, key: AccountKey, sealed: bytes) -> bytes:
    """Return the same credentials under the newest key.

    Raises:
        DecryptionFailed: no key at hand opens them.
    """
    return keys.encrypt(keys.decrypt(sealed, key, COLUMN), key, COLUMN)
