"""What people do with their mail: how a full mailbox looks, and what happens in it over time."""

from collections.abc import Iterator
from random import Random

from emailsync.emulators.gmail.ledger import (
    DRAFT,
    IMPORTANT,
    INBOX,
    SENT,
    SPAM,
    STARRED,
    TRASH,
    UNREAD,
    GmailMailbox,
)

USER_LABELS = ("Projects", "Projects/2026", "Travel", "Receipts")
LABELLED_SHARE = 0.2
UNREAD_SHARE = 0.2
STARRED_SHARE = 0.04
IMPORTANT_SHARE = 0.15
PLACES = {INBOX: 60, "": 18, SENT: 14, TRASH: 3, SPAM: 3, DRAFT: 2}  #: "": archived
CATEGORIES = tuple(f"CATEGORY_{name}" for name in ("PERSONAL", "UPDATES", "PROMOTIONS", "SOCIAL"))
EVENTS = {
    "deliver": 50,
    "mark_read": 25,
    "star": 4,
    "archive": 6,
    "label": 5,
    "trash": 4,
    "mark_spam": 1,
    "delete": 5,
}


def fill(mailbox: GmailMailbox, messages: int, *, keep: bool = False) -> None:
    """Give an empty mailbox labels and old mail; `keep`: hold its bytes in memory."""
    own_labels = [mailbox.create_label(name) for name in USER_LABELS]
    mailbox.fill(messages, _old_labels(own_labels, Random(f"labels/{mailbox.address}")), keep=keep)


def _old_labels(own_labels: list[str], random: Random) -> Iterator[list[str]]:
    """Yield the labels of one old message after the other."""
    while True:
        labels = [place for place in random.choices(list(PLACES), list(PLACES.values())) if place]
        if INBOX in labels:
            labels.append(random.choice(CATEGORIES))
        shares = {STARRED: STARRED_SHARE, IMPORTANT: IMPORTANT_SHARE}
        if DRAFT not in labels and SENT not in labels:
            shares[UNREAD] = UNREAD_SHARE
        labels += [label for label, share in shares.items() if random.random() < share]
        if random.random() < LABELLED_SHARE:
            labels.append(random.choice(own_labels))
        yield labels


def happen(mailbox: GmailMailbox, random: Random) -> None:
    """Let one thing happen: new mail, reading, filing or deleting."""
    (event,) = random.choices(list(EVENTS), list(EVENTS.values()))
    if event == "deliver" or not mailbox.messages:
        mailbox.deliver_generated([INBOX, UNREAD, random.choice(CATEGORIES)])
        return
    message = random.choice(list(mailbox.messages))
    if event == "label":
        own = [label.id for label in mailbox.labels.values() if not label.is_system]
        mailbox.modify(message, add=random.sample(own, k=min(1, len(own))))
    else:
        getattr(mailbox, event)(message)
