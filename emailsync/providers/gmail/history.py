"""Reads what happened in the mailbox since a history id, in rounds of bounded size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from emailsync.domain.errors import ServerRefused
from emailsync.providers.gmail.api import GmailApi
from emailsync.providers.gmail.changes import MessageChange, replayed

ROUND_PAGES: Final = 20  #: 10,000 records: what is known of so many messages fits in memory


@dataclass(frozen=True, slots=True)
class Round:
    """What happened, up to a point of the history."""

    changes: Mapping[str, MessageChange]  #: by message id
    history_id: str  #: true once the changes are stored
    is_last: bool  #: the history ends there


async def read_round(api: GmailApi, since: str) -> Round | None:
    """Return what happened since; None: the history does not go back so far.

    A page without records is no end. Where a round ends before the history does, the id of its last
    record is as good a place to go on from as any.

    Raises:
        ServerRefused: the pages go in a ring.
    """
    changes: dict[str, MessageChange] = {}
    token, reached = "", since
    tokens: set[str] = set()
    while True:
        page = await api.history(since, token)
        if page is None:
            return None
        replayed(page.events, changes)
        reached = page.last_record or reached
        token = page.next_page
        if not token:
            return Round(changes, page.history_id, is_last=True)
        if token in tokens:
            raise ServerRefused("the pages of Gmail's history go in a ring")
        tokens.add(token)
        if len(tokens) >= ROUND_PAGES and reached != since:
            return Round(changes, reached, is_last=False)
