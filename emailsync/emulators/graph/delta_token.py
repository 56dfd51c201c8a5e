"""Where a client stands in its rounds, as the opaque token of a nextLink or deltaLink.

The query options of the first request are in it, as Graph's documentation says of its own.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b

import orjson

_CHECK_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What has been told to a client.

    A first round lists what lies there, in an order that does not change, and then tells what has
    changed since it began; later rounds only do the latter.
    """

    scope: str  #: the folder's id; "" for the hierarchy of folders
    query: Mapping[str, str] = field(default_factory=dict)  #: options of the first request
    round_from: int  #: the changes up to this number were known before the round
    told: int  #: the changes up to this number have been told
    listed: Sequence[int] | None = None
    """The key of the last item listed, [] before the first; None: the listing is over."""
    count: int = 0  #: items listed in this round
    page: int = 0  #: pages of this round so far
    stamp: int = 0  #: when the token was made, for its expiry
    back: str = ""  #: a token of the same round, for a cycle

    def encode(self) -> str:
        """Return the token."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        packed = zlib.compress(orjson.dumps(values), 1)
        return base64.urlsafe_b64encode(_check(packed) + packed).decode().rstrip("=")

    @classmethod
    def decode(cls, token: str) -> "Position":
        """Return the position of a token.

        Raises:
            ValueError: we have not made it.
        """
        try:
            octets = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError("not a token") from error
        check, packed = octets[:_CHECK_BYTES], octets[_CHECK_BYTES:]
        if check != _check(packed):
            raise ValueError("not a token of ours")
        return cls(**orjson.loads(zlib.decompress(packed)))


def _check(packed: bytes) -> bytes:
    return blake2b(packed, digest_size=_CHECK_BYTES, key=b"graph").digest()
