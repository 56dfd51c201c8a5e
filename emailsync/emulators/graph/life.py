"""What people do with their mail: new mail, reading, filing and deleting."""

from random import Random

from emailsync.emulators.graph.items import INBOX, FlagStatus
from emailsync.emulators.graph.ledger import GraphLedger
from emailsync.emulators.graph.mailbox import Mailbox
from emailsync.emulators.mail_life import MailLife

EVENTS = {
    "deliver": 50,
    "read": 25,
    "flag": 4,
    "categorise": 3,
    "move": 8,
    "trash": 5,
    "delete": 5,
}


def life_in(ledger: GraphLedger) -> MailLife[Mailbox]:
    """Return the life in all mailboxes of a ledger, which delivers their mail."""

    def happen(mailbox: Mailbox, random: Random) -> None:
        (event,) = random.choices(list(EVENTS), list(EVENTS.values()))
        if event == "deliver" or not mailbox.messages:
            ledger.deliver_generated(mailbox.address, INBOX)
        else:
            _use(mailbox, random, event)

    return MailLife(ledger.mailboxes, happen)


def _use(mailbox: Mailbox, random: Random, event: str) -> None:
    message = random.choice(list(mailbox.messages.values()))
    if event == "read":
        mailbox.set_read(message.id, is_read=not message.is_read)
    elif event == "flag":
        mailbox.set_flag(message.id, random.choice(list(FlagStatus)))
    elif event == "categorise":
        mailbox.categorise(message.id, random.sample(["Red category", "Blue category"], 1))
    elif event == "move":
        folders = [folder for folder in mailbox.folders.values() if folder.parent is not None]
        mailbox.move(message.id, random.choice(folders).id)
    elif event == "trash":
        mailbox.trash(message.id)
    else:
        mailbox.delete(message.id)
