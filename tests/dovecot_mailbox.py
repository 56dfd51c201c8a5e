"""What a person, or another mail program, does to a mailbox on the server; and what is in it now.

By the standard library's client over its own connections, so that nothing of the product takes
part in what the product is held against.
"""

import base64
import hashlib
import imaplib
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from emailsync.domain.mail import Flags
from emailsync.emulators.mail_generator import GeneratedMail

APPEND_BATCH = 500  #: messages of one MULTIAPPEND (RFC 3502)
FETCH_BATCH = 500  #: messages read back at a time
TIMEOUT_S = 60.0  #: of any answer


class StoredMessage(NamedTuple):
    """What must be the same on both sides."""

    sha256: str  #: of the raw message, hexadecimal
    flags: frozenset[str]  #: without \\Recent, which belongs to a connection, not to a message


#: Folder path -> UID -> message.
Snapshot = dict[str, dict[int, StoredMessage]]


class RefusedError(Exception):
    """The server did not do what the test asked for."""


@dataclass(frozen=True, slots=True)
class DovecotMailbox:
    """One user's mailbox. Each call is a connection of its own; folders are named decoded."""

    host: str
    port: int
    user: str
    password: str

    def append(
        self,
        raw: bytes,
        *,
        folder: str = "INBOX",
        flags: Collection[str] = (),
        received_at: datetime | None = None,
    ) -> int:
        """Deliver one message; return its UID."""
        at = imaplib.Time2Internaldate(received_at or datetime.now(UTC))
        with self.connection() as imap:
            answer = _ok(imap.append(_quoted(folder), " ".join(flags), at, raw))
        return _appended_uid(answer[0])

    def deliver(self, mails: Iterable[GeneratedMail], *, folder: str = "INBOX") -> int:
        """Deliver any number of messages, by the thousands a second; return how many."""
        count = 0
        with self.connection() as imap:
            remaining = iter(mails)
            while batch := list(islice(remaining, APPEND_BATCH)):
                _append_batch(imap, folder, batch)
                count += len(batch)
        return count

    def add_flags(self, uids: Collection[int], *flags: str, folder: str = "INBOX") -> None:
        r"""Set flags, for example `\Seen`."""
        self._uid_command(folder, "STORE", uids, "+FLAGS.SILENT", f"({' '.join(flags)})")

    def remove_flags(self, uids: Collection[int], *flags: str, folder: str = "INBOX") -> None:
        """Clear flags."""
        self._uid_command(folder, "STORE", uids, "-FLAGS.SILENT", f"({' '.join(flags)})")

    def expunge(self, uids: Collection[int], *, folder: str = "INBOX") -> None:
        """Remove messages for good."""
        with self.selected(folder) as imap:
            _ok(imap.uid("STORE", _uid_set(uids), "+FLAGS.SILENT", "(\\Deleted)"))
            _ok(imap.uid("EXPUNGE", _uid_set(uids)))

    def move(self, uids: Collection[int], target: str, *, folder: str = "INBOX") -> None:
        """Move messages to another folder (RFC 6851)."""
        self._uid_command(folder, "MOVE", uids, _quoted(target))

    def copy(self, uids: Collection[int], target: str, *, folder: str = "INBOX") -> None:
        """Copy messages to another folder."""
        self._uid_command(folder, "COPY", uids, _quoted(target))

    def create(self, folder: str) -> None:
        """Make a folder."""
        with self.connection() as imap:
            _ok(imap.create(_quoted(folder)))

    def rename(self, folder: str, new: str) -> None:
        """Rename a folder with all below it."""
        with self.connection() as imap:
            _ok(imap.rename(_quoted(folder), _quoted(new)))

    def delete(self, folder: str) -> None:
        """Delete a folder with its messages."""
        with self.connection() as imap:
            _ok(imap.delete(_quoted(folder)))

    def folders(self) -> list[str]:
        """Return the paths of all selectable folders, sorted."""
        with self.connection() as imap:
            return _list(imap)

    def uids(self, folder: str = "INBOX") -> list[int]:
        """Return the UIDs of a folder, ascending."""
        with self.selected(folder) as imap:
            return _uids(imap)

    def uid_validity(self, folder: str = "INBOX") -> int:
        """Return the folder's UIDVALIDITY."""
        with self.connection() as imap:
            answer = _ok(imap.status(_quoted(folder), "(UIDVALIDITY)"))[0]
        return int(_search(rb"UIDVALIDITY (\d+)", answer))

    def snapshot(self) -> Snapshot:
        """Return everything that is in the mailbox now."""
        with self.connection() as imap:
            return {path: dict(_read_folder(imap, path)) for path in _list(imap)}

    @contextmanager
    def connection(self) -> Iterator[imaplib.IMAP4]:
        """Log in; log out at the end of the block."""
        with imaplib.IMAP4(self.host, self.port, timeout=TIMEOUT_S) as imap:
            _ok(imap.login(self.user, self.password))
            yield imap

    @contextmanager
    def selected(self, folder: str) -> Iterator[imaplib.IMAP4]:
        """Log in and select a folder for reading and writing."""
        with self.connection() as imap:
            _ok(imap.select(_quoted(folder)))
            yield imap

    def _uid_command(self, folder: str, name: str, uids: Collection[int], *rest: str) -> None:
        with self.selected(folder) as imap:
            _ok(imap.uid(name, _uid_set(uids), *rest))


def imap_flags(flags: Flags) -> frozenset[str]:
    """Return the flags as IMAP names them (RFC 9051 section 2.3.2)."""
    system = {
        "\\Seen": flags.is_read,
        "\\Flagged": flags.is_starred,
        "\\Answered": flags.is_answered,
        "\\Draft": flags.is_draft,
    }
    return frozenset(name for name, is_set in system.items() if is_set).union(flags.keywords)


def _ok(reply: tuple[str, list[Any]]) -> list[Any]:
    status, answer = reply
    if status != "OK":
        raise RefusedError(f"{status} {answer!r}")
    return answer


def _append_batch(imap: imaplib.IMAP4, folder: str, batch: Iterable[GeneratedMail]) -> None:
    """Send one MULTIAPPEND of literals that wait for no go-ahead (RFC 7888), as imaplib cannot."""
    tag = imap._new_tag()  # the only way to a tag that it has not used
    imap.send(b"%s APPEND %s" % (tag, _quoted(folder).encode()))
    for mail in batch:
        flags = " ".join(imap_flags(mail.flags)).encode()
        at = imaplib.Time2Internaldate(mail.sent_at).encode()
        imap.send(b" (%s) %s {%d+}\r\n" % (flags, at, len(mail.raw)))
        imap.send(mail.raw)
    imap.send(b"\r\n")
    while not (line := imap.readline()).startswith(tag):
        if not line:
            raise RefusedError("the server closed the connection")
    if not line.startswith(tag + b" OK"):
        raise RefusedError(line.decode(errors="replace"))


def _appended_uid(answer: bytes) -> int:
    return int(_search(rb"\[APPENDUID \d+ (\d+)\]", answer))


def _search(pattern: bytes, answer: bytes) -> bytes:
    found = re.search(pattern, answer)
    if found is None:
        raise RefusedError(f"expected {pattern!r} in {answer!r}")
    return found.group(1)


def _uid_set(uids: Collection[int]) -> str:
    return ",".join(map(str, sorted(uids)))


def _uids(imap: imaplib.IMAP4) -> list[int]:
    return sorted(map(int, _ok(imap.uid("SEARCH", "ALL"))[0].split()))


def _read_folder(imap: imaplib.IMAP4, path: str) -> Iterator[tuple[int, StoredMessage]]:
    _ok(imap.select(_quoted(path), readonly=True))
    uids = _uids(imap)
    for start in range(0, len(uids), FETCH_BATCH):
        wanted = _uid_set(uids[start : start + FETCH_BATCH])
        for part in _ok(imap.uid("FETCH", wanted, "(UID FLAGS BODY.PEEK[])")):
            if isinstance(part, tuple):
                attributes, raw = part
                flags = imaplib.ParseFlags(attributes)
                names = frozenset(flag.decode() for flag in flags) - {"\\Recent"}
                uid = int(_search(rb"UID (\d+)", attributes))
                yield uid, StoredMessage(hashlib.sha256(raw).hexdigest(), names)


def _list(imap: imaplib.IMAP4) -> list[str]:
    paths = []
    for line in _ok(imap.list()):
        listed = _LIST_LINE.fullmatch(line)
        if listed is None:
            raise RefusedError(f"expected a LIST line: {line!r}")
        attributes, name = listed.groups()
        if b"\\Noselect" not in attributes and b"\\NonExistent" not in attributes:
            paths.append(_decoded(name))
    return sorted(paths)


_LIST_LINE = re.compile(rb'\(([^)]*)\) (?:"[^"]*"|NIL) (.+)')


def _quoted(path: str) -> str:
    """Return a folder's name as IMAP spells it: modified UTF-7 (RFC 3501 section 5.1.3), quoted."""
    encoded = re.sub(r"&|[^\x20-\x7e]+", _encode_run, path)
    return '"' + encoded.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _encode_run(run: re.Match[str]) -> str:
    if run.group() == "&":
        return "&-"
    octets = base64.b64encode(run.group().encode("utf-16-be"), altchars=b"+,")
    return f"&{octets.rstrip(b'=').decode()}-"


def _decoded(name: bytes) -> str:
    text = name.decode("ascii")
    if text.startswith('"'):
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    return re.sub(r"&([^-]*)-", _decode_run, text)


def _decode_run(run: re.Match[str]) -> str:
    octets = run.group(1)
    if not octets:
        return "&"
    padded = octets + "=" * (-len(octets) % 4)
    return base64.b64decode(padded, altchars=b"+,").decode("utf-16-be")
