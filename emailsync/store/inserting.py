"""New messages into their tables, with where they lie and what hangs on them.

A page goes in statements of bounded size, and of all pages one is encoded in a round of the event
loop: some megabytes of text on their way to the server would hold everybody else up.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from emailsync.domain.accounts import AccountKey
from emailsync.domain.pages import ReadyMessage
from emailsync.loop_rounds import Rounds
from emailsync.store.database import Connection
from emailsync.store.queries import load_queries
from emailsync.store.rows import (
    attachment_columns,
    folders_of,
    in_parts,
    message_columns,
    placement_columns,
)

SQL: Final = load_queries("messages")


class Inserted(NamedTuple):
    """What became of messages that were taken for new."""

    ids: list[int]
    complete: set[str]  #: remote ids of those that got all their placements


class Inserter:
    """Inserts for one account, in a transaction that its caller holds."""

    def __init__(
        self, connection: Connection, key: AccountKey, *, keep_raw: bool, rounds: Rounds
    ) -> None:
        self._connection = connection
        self._key = (key.tenant_id, key.account_id)
        self._keep_raw = keep_raw
        self._rounds = rounds

    async def insert(
        self,
        messages: Sequence[ReadyMessage],
        hashes: Sequence[bytes] = (),
        names: Sequence[str] = (),
    ) -> Inserted:
        """Insert those that are not live yet; none where a vanished row has to be taken over first.

        Args:
            messages: of one page.
            hashes: of rows that may have vanished.
            names: of such rows.
        """
        whole = Inserted([], set())
        for part in in_parts(messages):
            await self._rounds.next()
            inserted = await self._insert_part(part, hashes, names)
            whole.ids.extend(inserted.ids)
            whole.complete.update(inserted.complete)
        return whole

    async def _insert_part(
        self, messages: Sequence[ReadyMessage], hashes: Sequence[bytes], names: Sequence[str]
    ) -> Inserted:
        places = {item.fetched.remote_id: item.fetched.placements for item in messages}
        parts = {item.fetched.remote_id: item.parsed.attachments for item in messages}
        rows = await self._connection.fetch(
            SQL["insert_messages"],
            *self._key,
            *message_columns(messages, keep_raw=self._keep_raw),
            *placement_columns(places),
            *attachment_columns(parts),
            hashes,
            names,
        )
        complete = {
            row["remote_id"]
            for row in rows
            if row["placements"] == len(folders_of(places[row["remote_id"]]))
        }
        return Inserted([row["id"] for row in rows], complete)
