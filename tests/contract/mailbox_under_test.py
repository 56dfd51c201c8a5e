"""The words of the contract: what lies in a mailbox, what may be done to it, what may go wrong.

Each provider gives one `MailboxUnderTest`; the tests know nothing else of a provider.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from emailsync.domain.folders import FolderRole


class Trouble(StrEnum):
    """What goes wrong between us and the provider."""

    CUT = "cut"  #: the connection breaks in the place of an answer
    THROTTLED = "throttled"  #: the provider asks us to slow down, and names no time
    GARBAGE = "garbage"  #: the answer is nothing that its protocol knows


class Lie(StrEnum):
    """What a broken back end shows of a mailbox that is well."""

    EMPTY = "empty"  #: its lists hold nothing
    PARTIAL = "partial"  #: its lists hold the newer half


class At(NamedTuple):
    """A message by the place where it lies and what the provider calls it there."""

    path: str
    name: str  #: the UID, or the provider's id


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message as either side has it."""

    name: str  #: as in `At`
    sha256: str  #: of its raw bytes, hexadecimal
    folders: frozenset[str]  #: paths
    is_read: bool
    is_starred: bool
    is_answered: bool
    is_draft: bool


@dataclass(frozen=True, slots=True)
class Truth:
    """A whole mailbox as either side has it."""

    folders: Mapping[str, FolderRole | None]  #: by path
    mail: frozenset[Mail]

    def count(self, path: str) -> int:
        """Return how many messages lie in a folder."""
        return sum(path in mail.folders for mail in self.mail)


class MailboxUnderTest(Protocol):
    """One mailbox at its provider, in the hands of its owner.

    It begins with no mail, the provider's own folders, and two folders of the owner's.
    """

    inbox: str
    projects: str  #: the first of the owner's folders
    travel: str  #: the second

    def deliver(self, count: int = 1, path: str | None = None) -> None:
        """Let generated messages arrive, unread, in a folder; None: the inbox."""

    def deliver_raw(self, raw: bytes) -> None:
        """Let this message arrive in the inbox."""

    def messages(self, path: str) -> Sequence[At]:
        """Return what lies in a folder, the oldest first."""

    def set_read(self, message: At, *, is_read: bool) -> None:
        """Mark as read or unread."""

    def set_starred(self, message: At, *, is_starred: bool) -> None:
        """Flag or star it, or take that back."""

    def move(self, message: At, path: str) -> None:
        """Take it out of the folder where it lies and put it into another."""

    def trash(self, message: At) -> None:
        """Put it where deleted mail goes."""

    def delete(self, message: At) -> None:
        """Delete it for ever."""

    def create_folder(self, path: str) -> None:
        """Make a folder under no other."""

    def rename_folder(self, path: str, new: str) -> None:
        """Rename a folder of the owner's."""

    def delete_folder(self, path: str) -> None:
        """Delete a folder of the owner's, with what that means for its mail."""

    def expire_cursors(self) -> None:
        """Make every bookmark worthless that a client may hold."""

    def fail(self, trouble: Trouble, *, after: int) -> None:
        """Let this happen to all of the provider's answers but so many at first, until `heal`."""

    def refuse_login(self) -> None:
        """Refuse the credentials, as the provider does for good, until `heal`."""

    def lie(self, lie: Lie) -> None:
        """Show wrong lists of the inbox until `heal`, to a client without a bookmark."""

    def heal(self) -> None:
        """Let everything work again."""

    def truth(self) -> Truth:
        """Return what is in the mailbox now."""
