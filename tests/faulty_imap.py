"""What bad IMAP servers say instead, line by line, and how many messages they say it of."""

import re
from collections.abc import Callable

MESSAGES = 80  #: in the inbox of the account whose server is bad


def replacing(pattern: bytes, replacement: bytes) -> Callable[[bytes], bytes]:
    """Say `replacement` wherever `pattern` would be said."""
    return lambda line: re.sub(pattern, replacement, line)


def dropping(pattern: bytes) -> Callable[[bytes], bytes]:
    """Leave out the lines that `pattern` is in."""
    return lambda line: b"" if re.search(pattern, line) else line


class Once:
    """Rewrites the first lines that fit, so many of them, and lets the rest be."""

    def __init__(self, pattern: bytes, replacement: bytes, *, times: int = 1) -> None:
        self._pattern, self._replacement = re.compile(pattern), replacement
        self.left = times

    def __call__(self, line: bytes) -> bytes:
        if self.left and self._pattern.search(line):
            self.left -= 1
            return self._pattern.sub(self._replacement, line)
        return line


WITHOUT_QRESYNC = replacing(rb" (QRESYNC|CONDSTORE|LIST-STATUS|ESEARCH)\b", b"")
