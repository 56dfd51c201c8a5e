"""Every mailbox of the emulated Graph, found by address or by the user's object id."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random

from emailsync.emulators.graph.items import INBOX, FlagStatus, GeneratedSource, Message
from emailsync.emulators.graph.mailbox import Mailbox
from emailsync.emulators.mail_generator import (
    FIRST_SENT_AT,
    MEAN_GAP,
    READ_SHARE,
    STARRED_SHARE,
)

FOLDERS = ("Projects", "Projects/2026", "Travel")
#: Of the mail that lies there from the start.
FOLDER_WEIGHTS = {INBOX: 6, "sentitems": 2, "archive": 2, "deleteditems": 1, "junkemail": 1}
TRANSPORT_TIME = timedelta(seconds=4)  #: from the Date header to the mailbox


class GraphLedger:
    """All users."""

    def __init__(self) -> None:
        self.mailboxes: dict[str, Mailbox] = {}  #: by address as added
        self._by_name: dict[str, Mailbox] = {}
        self._generated: dict[str, tuple[int, int]] = {}  #: seed, and the index to come next

    def add_mailbox(
        self,
        address: str,
        *,
        messages: int = 0,
        seed: int = 0,
        folders: Iterable[str] = FOLDERS,
        display_names: Mapping[str, str] | None = None,
    ) -> Mailbox:
        """Make a mailbox with mail that has lain there for years.

        Args:
            address: also the user principal name.
            messages: how many, spread over all folders, most of them in the inbox.
            seed: of the generator.
            folders: paths, besides the well-known ones.
            display_names: by well-known name, of a mailbox that is not in English.
        """
        mailbox = Mailbox(address, display_names=dict(display_names or {}))
        weights = FOLDER_WEIGHTS | {mailbox.add_old_folder(path).id: 1 for path in folders}
        random = Random(f"graph/{seed}")
        places = random.choices(list(weights), list(weights.values()), k=messages)
        for index, place in enumerate(places):
            sent_at = FIRST_SENT_AT + index * MEAN_GAP
            mailbox.put(
                GeneratedSource(seed, index, address, sent_at),
                place,
                received_at=sent_at + TRANSPORT_TIME,
                is_read=random.random() < READ_SHARE,
                flag=(
                    FlagStatus.FLAGGED
                    if random.random() < STARRED_SHARE
                    else FlagStatus.NOT_FLAGGED
                ),
                is_old=True,
            )
        self.mailboxes[address] = mailbox
        self._by_name |= {address.casefold(): mailbox, mailbox.user_id: mailbox}
        self._generated[address] = seed, messages
        return mailbox

    def mailbox(self, name: str) -> Mailbox:
        """Return the mailbox of that address or object id.

        Raises:
            KeyError: there is none.
        """
        return self._by_name[name.casefold()]

    def deliver_generated(
        self, address: str, folder: str = INBOX, *, count: int = 1
    ) -> list[Message]:
        """Let the generator's next messages arrive now."""
        mailbox = self.mailbox(address)
        seed, index = self._generated[mailbox.address]
        self._generated[mailbox.address] = seed, index + count
        now = datetime.now(UTC).replace(microsecond=0)
        sources = [
            GeneratedSource(seed, at, mailbox.address, now - TRANSPORT_TIME)
            for at in range(index, index + count)
        ]
        return [mailbox.put(source, folder, received_at=now) for source in sources]
