"""What people do with their mail: new mail, reading, filing and deleting, in all mailboxes."""

from random import Random

import anyio

from emailsync.emulators.graph.items import INBOX, FlagStatus
from emailsync.emulators.graph.ledger import GraphLedger
from emailsync.emulators.graph.mailbox import Mailbox

EVENTS = {
    "deliver": 50,
    "read": 25,
    "flag": 4,
    "categorise": 3,
    "move": 8,
    "trash": 5,
    "delete": 5,
}
IDLE_S = 0.05  #: between two looks at the rate while it is 0


class MailLife:
    """Life at a rate, over all mailboxes of a ledger."""

    def __init__(self, ledger: GraphLedger) -> None:
        self.changes_per_s = 0.0  #: may be changed at any time
        self._ledger = ledger
        self._random = Random(1)  # repeatable

    async def run(self) -> None:
        """Let things happen until cancelled."""
        while True:
            if self.changes_per_s > 0 and self._ledger.mailboxes:
                self.change(self._random.choice(list(self._ledger.mailboxes.values())))
                await anyio.sleep(1 / self.changes_per_s)
            else:
                await anyio.sleep(IDLE_S)

    def change(self, mailbox: Mailbox) -> None:
        """Let one thing happen."""
        (event,) = self._random.choices(list(EVENTS), list(EVENTS.values()))
        if event == "deliver" or not mailbox.messages:
            self._ledger.deliver_generated(mailbox.address, INBOX)
            return
        message = self._random.choice(list(mailbox.messages.values()))
        if event == "read":
            mailbox.set_read(message.id, is_read=not message.is_read)
        elif event == "flag":
            mailbox.set_flag(message.id, self._random.choice(list(FlagStatus)))
        elif event == "categorise":
            mailbox.categorise(
                message.id, self._random.sample(["Red category", "Blue category"], 1)
            )
        elif event == "move":
            folders = [folder for folder in mailbox.folders.values() if folder.parent is not None]
            mailbox.move(message.id, self._random.choice(folders).id)
        elif event == "trash":
            mailbox.trash(message.id)
        else:
            mailbox.delete(message.id)
