"""The contract's mailbox at the emulated Gmail."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from contract.http_troubles import from_then_on, garbage
from contract.mailbox_under_test import At, Lie, Mail, Trouble, Truth
from emailsync.domain.folders import FolderRole
from emailsync.emulators.faults import Failure, Fault
from emailsync.emulators.gmail import errors
from emailsync.emulators.gmail.ledger import GmailMailbox, GmailMessage
from gmail_account import GmailAccount, gmail_account

ARCHIVE = "Archive"  #: where a message without a label lies
NO_FOLDERS = frozenset({"UNREAD", "STARRED", "CHAT"})
ROLES = {
    "INBOX": FolderRole.INBOX,
    "SENT": FolderRole.SENT,
    "DRAFT": FolderRole.DRAFTS,
    "TRASH": FolderRole.TRASH,
    "SPAM": FolderRole.JUNK,
    ARCHIVE: FolderRole.ARCHIVE,
}


@dataclass(slots=True)
class LabelledMailbox:
    """One user's mailbox, whose labels are folders."""

    account: GmailAccount
    inbox: str = "INBOX"
    projects: str = "Projects"
    travel: str = "Travel"

    @property
    def mailbox(self) -> GmailMailbox:
        return self.account.mailbox

    def deliver(self, count: int = 1, path: str | None = None) -> None:
        """Let generated messages arrive; see MailboxUnderTest."""
        for _ in range(count):
            self.mailbox.deliver_generated([self._label(path or self.inbox), "UNREAD"])

    def deliver_raw(self, raw: bytes) -> None:
        """Let this message arrive in the inbox."""
        self.mailbox.deliver(raw)

    def messages(self, path: str) -> Sequence[At]:
        """Return what has a label, the oldest first."""
        return [At(path, name) for name in self._labelled(self._label(path))]

    def set_read(self, message: At, *, is_read: bool) -> None:
        """Remove or add UNREAD."""
        (self.mailbox.mark_read if is_read else self.mailbox.mark_unread)(message.name)

    def set_starred(self, message: At, *, is_starred: bool) -> None:
        """Add or remove STARRED."""
        (self.mailbox.star if is_starred else self.mailbox.unstar)(message.name)

    def move(self, message: At, path: str) -> None:
        """Take one label for another."""
        self.mailbox.modify(
            message.name, add=[self._label(path)], remove=[self._label(message.path)]
        )

    def trash(self, message: At) -> None:
        """Put it into the trash."""
        self.mailbox.trash(message.name)

    def delete(self, message: At) -> None:
        """Delete it for ever."""
        self.mailbox.delete(message.name)

    def create_folder(self, path: str) -> None:
        """Make a label."""
        self.mailbox.create_label(path)

    def rename_folder(self, path: str, new: str) -> None:
        """Rename a label."""
        self.mailbox.rename_label(self._label(path), new)

    def delete_folder(self, path: str) -> None:
        """Delete a label, which its mail survives."""
        self.mailbox.delete_label(self._label(path))

    def expire_cursors(self) -> None:
        """Forget the history."""
        self.mailbox.expire_history()

    def fail(self, trouble: Trouble, *, after: int) -> None:
        """Let all answers but so many go wrong; see MailboxUnderTest."""
        calls = from_then_on(after)
        self.account.emulator.faults.add(
            {
                Trouble.CUT: Fault(calls=calls, failure=Failure.CUT),
                Trouble.THROTTLED: errors.as_fault(errors.user_rate_limit_exceeded(), calls=calls),
                Trouble.GARBAGE: garbage(calls),
            }[trouble]
        )

    def refuse_login(self) -> None:
        """Answer that the domain's administrator has disabled us."""
        self.account.emulator.faults.add(errors.as_fault(errors.domain_policy()))

    def lie(self, lie: Lie) -> None:
        """Show wrong lists, of the whole mailbox and of every label."""
        names = [name for _, name in self.mailbox.newest_first()]
        kept = [] if lie is Lie.EMPTY else names[: len(names) // 2]
        shown = [{"id": name, "threadId": self.mailbox.messages[name].thread_id} for name in kept]
        answer = {"messages": shown} if shown else {}
        self.account.emulator.faults.add(
            Fault(
                on=r"/users/me/messages\?(?!.*labelIds=(UNREAD|STARRED))",
                status=200,
                body=orjson.dumps(answer | {"resultSizeEstimate": len(shown)}).decode(),
            )
        )

    def heal(self) -> None:
        """Let everything work again."""
        self.account.emulator.faults.clear()

    def truth(self) -> Truth:
        """Return what the ledger holds, as it should be stored."""
        names = {
            label.id: label.name
            for label in self.mailbox.labels.values()
            if label.id not in NO_FOLDERS
        }
        return Truth(
            {name: ROLES.get(name) for name in (*names.values(), ARCHIVE)},
            frozenset(
                Mail(
                    name=message.id,
                    sha256=hashlib.sha256(message.raw).hexdigest(),
                    folders=self._folders(message),
                    is_read="UNREAD" not in message.labels,
                    is_starred="STARRED" in message.labels,
                    is_answered=False,  # Gmail tells nobody
                    is_draft="DRAFT" in message.labels,
                )
                for message in self.mailbox.messages.values()
            ),
        )

    def _folders(self, message: GmailMessage) -> frozenset[str]:
        labels = message.labels - NO_FOLDERS
        return frozenset(self.mailbox.labels[label].name for label in labels) or frozenset(
            {ARCHIVE}
        )

    def _label(self, path: str) -> str:
        return next(label.id for label in self.mailbox.labels.values() if label.name == path)

    def _labelled(self, label: str) -> Sequence[str]:
        return [name for name, message in self.mailbox.messages.items() if label in message.labels]


@asynccontextmanager
async def gmail_mailbox(
    database_url: str, key_file: Path
) -> AsyncIterator[tuple[LabelledMailbox, GmailAccount]]:
    """Make an account of an empty mailbox, without quotas."""
    async with gmail_account(database_url, key_file) as account:
        under_test = LabelledMailbox(account)
        for path in (under_test.projects, under_test.travel):
            under_test.create_folder(path)
        yield under_test, account
