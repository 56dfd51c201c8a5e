"""Bytes to text: which codec a declared charset means, and what to do when it lies.

Only charsets of a closed list are looked up: Python's registry would import modules by a name a
stranger chose, and some of its codecs (punycode) are quadratic.
"""

import re
from encodings.aliases import aliases
from functools import lru_cache
from typing import Final

DETECTION_SAMPLE_BYTES: Final = 8 * 1024  #: enough for the statistics; detecting is slow Python
MAX_DETECTIONS: Final = 8  #: a message of a thousand lying parts must not cost a thousand guesses
_MIN_DETECTABLE_BYTES: Final = 16  #: below that every guess is as good as cp1252
_RIGHT_FOR_A_WRONG: Final = 4  #: characters beyond ASCII; in a wrong charset most are wrong

_NOT_TEXT: Final = {"base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13",
                    "uu_codec", "zlib_codec"}  # fmt: skip
_WITHOUT_ALIAS: Final = ("cp720", "cp737", "cp874", "koi8_t", "koi8_u", "utf_8_sig")

#: Labels that mean a superset of what they say (WHATWG Encoding Standard, "Names and labels").
_SUPERSETS: Final = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "latin_1": "cp1252",
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "tis_620": "cp874",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "cp950",
}
#: Labels seen in mail that Python does not know.
_UNKNOWN_TO_PYTHON: Final = {
    "ks_c_5601": "cp949",
    "windows_874": "cp874",
    "x_gbk": "gb18030",
    "x_sjis": "cp932",
    "x_euc_jp": "euc_jp",
    "x_mac_roman": "mac_roman",
    "x_windows_949": "cp949",
    "iso_8859_8_i": "iso8859_8",
    "iso_8859_8_e": "iso8859_8",
    "unicode_1_1_utf_7": "utf_7",
    "utf8mb4": "utf_8",
}


def _known_codecs() -> dict[str, str]:
    known = {codec: codec for codec in (*aliases.values(), *_WITHOUT_ALIAS)} | dict(aliases)
    known = {label: codec for label, codec in known.items() if codec not in _NOT_TEXT}
    return {label: _SUPERSETS.get(codec, codec) for label, codec in known.items()} | (
        _UNKNOWN_TO_PYTHON
    )


_CODECS: Final = _known_codecs()
_PUNCTUATION: Final = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=256)
def codec_for(label: str) -> str | None:
    """Return the Python codec that a charset label means, None for an unknown label."""
    name = _PUNCTUATION.sub("_", label.lower()).strip("_")
    return _CODECS.get(name) or _CODECS.get(name.replace("_", ""))


def decode_strictly(data: bytes, label: str | None) -> str:
    """Decode as declared; without a declaration as UTF-8, which contains ASCII.

    Raises:
        UnicodeError: the bytes are not what they were declared to be.
        LookupError: nobody knows the charset, and the bytes are not plain ASCII either.
    """
    codec = "utf-8" if label is None else codec_for(label)
    if codec is None:
        if not data.isascii():
            raise LookupError(f"unknown charset {label!r}")
        codec = "ascii"
    return data.decode(codec).removeprefix("\ufeff")


def decode_leniently(data: bytes, label: str | None) -> str:
    """Decode as declared, else as UTF-8, else as cp1252; with U+FFFD for what is no character."""
    text = _decode_as_told(data, label)
    return data.decode("cp1252", errors="replace") if text is None else text


def _decode_as_told(data: bytes, label: str | None) -> str | None:
    """Decode as declared or as UTF-8, exactly if possible, None if it looks like neither.

    A text with few wrong bytes among many right ones (cut in a character, one stray byte) is
    still what it says.
    """
    for candidate in (label, None):
        try:
            return decode_strictly(data, candidate)
        except (UnicodeError, LookupError):
            continue
    for codec in (codec_for(label) if label else None, "utf-8"):
        text = data.decode(codec, errors="replace") if codec else ""
        wrong = text.count("\ufffd")
        right = len(text) - len(text.encode("ascii", errors="ignore")) - wrong
        if right >= _RIGHT_FOR_A_WRONG * wrong > 0:
            return text
    return None


class Detective:
    """Decodes the texts of one message; guesses a lying charset from the bytes, a few times."""

    def __init__(self) -> None:
        self._guesses_left = MAX_DETECTIONS

    def decode(self, data: bytes, label: str | None) -> str:
        """Decode as declared, else as UTF-8, else as the bytes look, else as cp1252."""
        text = _decode_as_told(data, label)
        if text is not None:
            return text
        try:
            return data.decode(self._guess(data))
        except (UnicodeError, LookupError):
            return data.decode("cp1252", errors="replace")

    def _guess(self, data: bytes) -> str:
        """Return the likeliest codec. The detector is imported late: it is large, and seldom used.

        Raises:
            LookupError: too little to go by, too many guesses, or nothing fits.
        """
        if self._guesses_left <= 0 or len(data) < _MIN_DETECTABLE_BYTES:
            raise LookupError
        self._guesses_left -= 1
        from charset_normalizer import from_bytes  # noqa: PLC0415 - see the docstring

        best = from_bytes(data[:DETECTION_SAMPLE_BYTES]).best()
        if best is None:
            raise LookupError
        return best.encoding
