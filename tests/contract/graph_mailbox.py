"""The contract's mailbox at the emulated Microsoft Graph."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import orjson

from contract.http_troubles import from_then_on, garbage
from contract.mailbox_under_test import At, Lie, Mail, Trouble, Truth
from emailsync.config import MicrosoftLimits
from emailsync.domain.folders import FolderRole
from emailsync.emulators.faults import Failure, Fault
from emailsync.emulators.graph.items import FlagStatus, Folder
from emailsync.emulators.graph.mailbox import Mailbox
from graph_account import OWNER, UNLIMITED, GraphAccount, graph_account

PLENTY = MicrosoftLimits(mailbox_requests_per_10_minutes=1_000_000)  #: no quota of ours in the way
JSON = {"content-type": "application/json"}
ROLES = {
    "inbox": FolderRole.INBOX,
    "sentitems": FolderRole.SENT,
    "drafts": FolderRole.DRAFTS,
    "deleteditems": FolderRole.TRASH,
    "junkemail": FolderRole.JUNK,
    "archive": FolderRole.ARCHIVE,
}


@dataclass(slots=True)
class GraphMailbox:
    """One user's mailbox, whose messages keep their immutable ids."""

    account: GraphAccount
    inbox: str = "Inbox"
    projects: str = "Projects"
    travel: str = "Travel"
    _links: "count[int]" = field(default_factory=count, init=False)

    @property
    def mailbox(self) -> Mailbox:
        return self.account.mailbox

    def deliver(self, count: int = 1, path: str | None = None) -> None:
        """Let generated messages arrive; see MailboxUnderTest."""
        folder = self._folder(path or self.inbox).id
        self.account.emulator.ledger.deliver_generated(OWNER, folder, count=count)

    def deliver_raw(self, raw: bytes) -> None:
        """Let this message arrive in the inbox."""
        self.mailbox.deliver(raw)

    def messages(self, path: str) -> Sequence[At]:
        """Return what lies in a folder, the oldest first."""
        found = self.mailbox.in_folder(self._folder(path).id)
        return [At(path, message.id) for message in found]

    def set_read(self, message: At, *, is_read: bool) -> None:
        """Mark as read or unread."""
        self.mailbox.set_read(message.name, is_read=is_read)

    def set_starred(self, message: At, *, is_starred: bool) -> None:
        """Flag for follow-up or remove the flag."""
        status = FlagStatus.FLAGGED if is_starred else FlagStatus.NOT_FLAGGED
        self.mailbox.set_flag(message.name, status)

    def move(self, message: At, path: str) -> None:
        """Move it."""
        self.mailbox.move(message.name, self._folder(path).id)

    def trash(self, message: At) -> None:
        """Move it to Deleted Items."""
        self.mailbox.trash(message.name)

    def delete(self, message: At) -> None:
        """Delete it for ever."""
        self.mailbox.delete(message.name)

    def create_folder(self, path: str) -> None:
        """Make a folder."""
        self.mailbox.create_folder(path)

    def rename_folder(self, path: str, new: str) -> None:
        """Rename a folder."""
        self.mailbox.rename_folder(self._folder(path).id, new)

    def delete_folder(self, path: str) -> None:
        """Delete a folder with its messages."""
        self.mailbox.delete_folder(self._folder(path).id)

    def expire_cursors(self) -> None:
        """Let every link expire."""
        self.mailbox.expire_tokens()

    def fail(self, trouble: Trouble, *, after: int) -> None:
        """Let all answers but so many go wrong; see MailboxUnderTest."""
        calls = from_then_on(after)
        throttled = {"error": {"code": "ApplicationThrottled", "message": "Slow down."}}
        self.account.emulator.faults.add(
            {
                Trouble.CUT: Fault(calls=calls, failure=Failure.CUT),
                Trouble.THROTTLED: Fault(
                    calls=calls, status=429, headers=JSON, body=orjson.dumps(throttled).decode()
                ),
                Trouble.GARBAGE: garbage(calls),
            }[trouble]
        )

    def refuse_login(self) -> None:
        """Deny access to the mailbox, as a policy does."""
        self.mailbox.access.is_denied = True

    def lie(self, lie: Lie) -> None:
        """Show a wrong list of the inbox whenever a round over all of it begins."""
        names = [message.name for message in self.messages(self.inbox)]
        kept = [] if lie is Lie.EMPTY else names[len(names) // 2 :]
        self.account.emulator.faults.add(
            Fault(
                on=rf"{self._folder(self.inbox).id}/messages/delta\?\$select",
                status=200,
                headers=JSON,
                body=orjson.dumps(
                    {
                        "value": [{"id": name} for name in kept],
                        "@odata.deltaLink": self._any_link(),
                    }
                ).decode(),
            )
        )

    def heal(self) -> None:
        """Let everything work again."""
        self.account.emulator.faults.clear()
        self.mailbox.access.is_denied = False

    def truth(self) -> Truth:
        """Return what the ledger holds, as it should be stored."""
        return Truth(
            {
                self.mailbox.path(folder): ROLES.get(folder.well_known or "")
                for folder in self._folders()
            },
            frozenset(
                Mail(
                    name=message.id,
                    sha256=hashlib.sha256(message.content.raw).hexdigest(),
                    folders=frozenset({path}),
                    is_read=message.is_read,
                    is_starred=message.flag is FlagStatus.FLAGGED,
                    is_answered=False,  # Graph has no word for it
                    is_draft=message.is_draft,
                )
                for path, message in self.mailbox.truth()
            ),
        )

    def _any_link(self) -> str:
        """Return a link that nobody has made, so that the next round begins anew."""
        inbox = self._folder(self.inbox).id
        base = self.account.settings.current.oauth.microsoft.api_url
        return (
            f"{base}/v1.0/me/mailFolders/{inbox}/messages/delta?$deltatoken=none{next(self._links)}"
        )

    def _folders(self) -> Sequence[Folder]:
        return [
            folder
            for folder in self.mailbox.folders.values()
            if folder.parent is not None and not folder.is_hidden
        ]

    def _folder(self, path: str) -> Folder:
        return next(folder for folder in self._folders() if self.mailbox.path(folder) == path)


@asynccontextmanager
async def graph_mailbox(
    database_url: str, key_file: Path
) -> AsyncIterator[tuple[GraphMailbox, GraphAccount]]:
    """Make an account of an empty mailbox, without limits."""
    async with graph_account(
        database_url, key_file, folders=("Projects", "Travel"), limits=UNLIMITED, ours=PLENTY
    ) as account:
        yield GraphMailbox(account), account
