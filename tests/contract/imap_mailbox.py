"""The contract's mailbox at a real Dovecot, behind a proxy that can make it a bad server."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path

from contract.mailbox_under_test import At, Lie, Mail, Trouble, Truth
from dovecot_mailbox import DovecotMailbox
from emailsync.domain.folders import FolderRole
from emailsync.emulators.mail_generator import generate
from rewriting_proxy import Rewrite, RewritingProxy, rewriting_proxy
from servers import LOOPBACK
from sync_harness import synced_account
from sync_rig import SyncRig

ROLES = {
    "INBOX": FolderRole.INBOX,
    "Archive": FolderRole.ARCHIVE,
    "Drafts": FolderRole.DRAFTS,
    "Junk": FolderRole.JUNK,
    "Sent": FolderRole.SENT,
    "Trash": FolderRole.TRASH,
}
TAGGED_OK = re.compile(rb"^([A-Z]+\d+) OK\b.*\r\n$")
ESEARCH = re.compile(rb"(\* ESEARCH .*UID) ALL ([\d:,]+) COUNT \d+\r\n")
SEARCH = re.compile(rb"\* SEARCH ([\d ]+)\r\n")


@dataclass(slots=True)
class ImapMailbox:
    """The mailbox of one user, and the proxy between it and us."""

    mailbox: DovecotMailbox
    proxy: RewritingProxy
    inbox: str = "INBOX"
    projects: str = "Projects"
    travel: str = "Travel"
    _indices: "count[int]" = field(default_factory=count, init=False)
    _uid_validity: int = field(default=0, init=False)  #: 0: as the server has it

    def deliver(self, count: int = 1, path: str | None = None) -> None:
        """Let generated messages arrive; see MailboxUnderTest."""
        for index in islice(self._indices, count):
            mail = generate(7, index, recipient=self.mailbox.user)
            self.mailbox.append(mail.raw, folder=path or self.inbox, received_at=mail.sent_at)

    def deliver_raw(self, raw: bytes) -> None:
        """Let this message arrive in the inbox."""
        self.mailbox.append(raw, received_at=datetime.now(UTC))

    def messages(self, path: str) -> Sequence[At]:
        """Return what lies in a folder, the oldest first."""
        return [At(path, str(uid)) for uid in self.mailbox.uids(path)]

    def set_read(self, message: At, *, is_read: bool) -> None:
        """Mark as read or unread."""
        self._set("\\Seen", message, is_set=is_read)

    def set_starred(self, message: At, *, is_starred: bool) -> None:
        """Flag it or not."""
        self._set("\\Flagged", message, is_set=is_starred)

    def move(self, message: At, path: str) -> None:
        """Move it, which gives it another UID."""
        self.mailbox.move([int(message.name)], path, folder=message.path)

    def trash(self, message: At) -> None:
        """Move it to the trash."""
        self.move(message, "Trash")

    def delete(self, message: At) -> None:
        """Expunge it."""
        self.mailbox.expunge([int(message.name)], folder=message.path)

    def create_folder(self, path: str) -> None:
        """Make a folder."""
        self.mailbox.create(path)

    def rename_folder(self, path: str, new: str) -> None:
        """Rename a folder."""
        self.mailbox.rename(path, new)

    def delete_folder(self, path: str) -> None:
        """Delete a folder with its messages."""
        self.mailbox.delete(path)

    def expire_cursors(self) -> None:
        """Give every folder another UIDVALIDITY."""
        self._uid_validity += 1
        self.heal()

    def fail(self, trouble: Trouble, *, after: int) -> None:
        """Let all lines of the server but so many go wrong; see MailboxUnderTest."""
        lines = count()

        def rewrite(line: bytes) -> bytes | None:
            return _gone_wrong(trouble, line) if next(lines) >= after else line

        self.proxy.rewrite = self._with_validity(rewrite)

    def refuse_login(self) -> None:
        """Answer every login with NO [AUTHENTICATIONFAILED]."""
        self.proxy.rewrite = lambda line: (
            TAGGED_OK.sub(rb"\1 NO [AUTHENTICATIONFAILED] Authentication failed.\r\n", line)
            if b"Logged in" in line
            else line
        )

    def lie(self, lie: Lie) -> None:
        """Leave UIDs out of every search; how many messages there are stays true."""
        self.proxy.rewrite = self._with_validity(lambda line: _lied(lie, line))

    def heal(self) -> None:
        """Pass everything on."""
        self.proxy.rewrite = self._with_validity(lambda line: line)

    def truth(self) -> Truth:
        """Return what the server has, as asked for behind the proxy."""
        there = self.mailbox.snapshot()
        return Truth(
            {path: ROLES.get(path) for path in there},
            frozenset(
                Mail(
                    name=str(uid),
                    sha256=stored.sha256,
                    folders=frozenset({path}),
                    is_read="\\Seen" in stored.flags,
                    is_starred="\\Flagged" in stored.flags,
                    is_answered="\\Answered" in stored.flags,
                    is_draft="\\Draft" in stored.flags,
                )
                for path, messages in there.items()
                for uid, stored in messages.items()
            ),
        )

    def _set(self, flag: str, message: At, *, is_set: bool) -> None:
        change = self.mailbox.add_flags if is_set else self.mailbox.remove_flags
        change([int(message.name)], flag, folder=message.path)

    def _with_validity(self, rewrite: Rewrite) -> Rewrite:
        if not self._uid_validity:
            return rewrite
        shown = b"UIDVALIDITY %d" % self._uid_validity
        return lambda line: rewrite(re.sub(rb"UIDVALIDITY \d+", shown, line))


def _gone_wrong(trouble: Trouble, line: bytes) -> bytes | None:
    if trouble is Trouble.CUT:
        return None
    if trouble is Trouble.THROTTLED:
        return TAGGED_OK.sub(rb"\1 NO [LIMIT] Slow down.\r\n", line)
    return b"\x16\x03\x01\x00" * 1024 * 1024  # and no end: unknown lines alone are skipped


def _lied(lie: Lie, line: bytes) -> bytes:
    """Return a search's answer without some of its UIDs, and a count that fits."""
    if found := ESEARCH.fullmatch(line):
        ranges = [part.partition(b":")[::2] for part in found[2].split(b",")]
        uids = [uid for low, high in ranges for uid in range(int(low), int(high or low) + 1)]
    elif found := SEARCH.fullmatch(line):
        uids = [int(uid) for uid in found[1].split()]
    else:
        return line
    shown = uids[len(uids) // 2 :] if lie is Lie.PARTIAL else []
    if line.startswith(b"* SEARCH"):
        return b"* SEARCH%b\r\n" % b"".join(b" %d" % uid for uid in shown)
    listed = b" ALL " + b",".join(b"%d" % uid for uid in shown) if shown else b""
    return b"%b%b COUNT %d\r\n" % (found[1], listed, len(shown))


@asynccontextmanager
async def imap_mailbox(
    mailbox: DovecotMailbox, port: int, database_url: str, key_file: Path
) -> AsyncIterator[tuple[ImapMailbox, SyncRig]]:
    """Make an account of an empty mailbox, behind a proxy."""
    async with rewriting_proxy(port) as proxy:
        under_test = ImapMailbox(mailbox, proxy)
        for path in (under_test.projects, under_test.travel):
            mailbox.create(path)
        async with synced_account(
            database_url, mailbox, host=LOOPBACK, port=proxy.port, key_file=key_file
        ) as rig:
            yield under_test, rig
