"""Takes a session's pages through parsing into the store, one page ahead of the database.

A page without messages is applied before the session goes on, so what a session reads of the
store after yielding one is complete; pages with messages overlap: while Postgres stores one, the
next is parsed and the one after it is on the wire.
"""

import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final, Protocol

import anyio
import anyio.abc
import anyio.to_thread

from emailsync.domain.accounts import Lease
from emailsync.domain.folders import AccountCursor
from emailsync.domain.mail import ParsedMessage
from emailsync.domain.pages import (
    FetchedMessage,
    FetchedPage,
    FolderCheck,
    PageChanges,
    PageResult,
    ReadyMessage,
    ReadyPage,
)
from emailsync.ports import MailStore
from emailsync.sync.progress import Progress

HASH_INLINE_BYTES: Final = 1024 * 1024  #: above, hashing takes over half a millisecond


class PageParser(Protocol):
    """Turns raw messages into what they say. Never raises for a message's sake."""

    async def parse_page(
        self, raws: Sequence[bytes], *, careful: bool = False
    ) -> Sequence[ParsedMessage]:
        """Return one parsed message a raw one, in order."""


class Pipeline:
    """The way of one session's pages; used by one task, for one lease."""

    def __init__(
        self,
        store: MailStore,
        parser: PageParser,
        lease: Lease,
        progress: Progress,
        *,
        careful: bool,
    ) -> None:
        self._store = store
        self._parser = parser
        self._lease = lease
        self._progress = progress
        self._careful = careful
        self._account_cursor: AccountCursor | None = None  #: as of the page before
        self.mismatched: list[FolderCheck] = []  #: checks whose counts differ

    async def run(self, pages: AsyncGenerator[FetchedPage], *, whole: bool = False) -> bool:
        """Apply the pages until they end or the quantum is over; return whether there are more.

        With `whole` the quantum does not count.

        Raises what the session or the store raises. What was applied stays.
        """
        failure: list[Exception] = []
        send, receive = anyio.create_memory_object_stream[ReadyPage | None](0)
        async with anyio.create_task_group() as group, aclosing(pages) as source:
            group.start_soon(self._apply_all, receive, failure, name="apply pages")
            async with send:
                more = await self._feed(source, send, failure, whole=whole)
        if failure:
            raise failure[0]
        return more

    async def _feed(
        self,
        pages: AsyncGenerator[FetchedPage],
        send: anyio.abc.ObjectSendStream[ReadyPage | None],
        failure: list[Exception],
        *,
        whole: bool,
    ) -> bool:
        try:
            async for page in pages:
                await send.send(await self._ready(page))
                if not page.messages:
                    await send.send(None)  # taken only when the page before it is applied
                if not whole and self._progress.quantum_is_over():
                    return True
        except anyio.BrokenResourceError:
            pass  # the applying side failed and has left its reason in `failure`
        except Exception as error:  # noqa: BLE001 - carried past the task group, which would wrap it
            failure.append(error)
        return False

    async def _apply_all(
        self, receive: anyio.abc.ObjectReceiveStream[ReadyPage | None], failure: list[Exception]
    ) -> None:
        try:
            async with receive:
                async for page in receive:
                    if page is not None:
                        await self._apply(page)
        except Exception as error:  # noqa: BLE001 - carried past the task group, which would wrap it
            failure.insert(0, error)

    async def _apply(self, page: ReadyPage) -> None:
        result = await self._store.apply(self._lease, page)
        self._progress.add(result, page)
        check = page.changes.check
        if check is not None and _differs(check, result):
            self.mismatched.append(check)

    async def _ready(self, page: FetchedPage) -> ReadyPage:
        raws = [message.raw for message in page.messages if message.parsed is None]
        parsed = iter(
            await self._parser.parse_page([raw or b"" for raw in raws], careful=self._careful)
            if raws
            else ()
        )
        return ReadyPage(
            messages=[
                ReadyMessage(
                    fetched=message,
                    parsed=message.parsed if message.parsed is not None else next(parsed),
                    raw_sha256=await _sha256(message),
                )
                for message in page.messages
            ],
            changes=self._with_news_only(page.changes),
        )

    def _with_news_only(self, changes: PageChanges) -> PageChanges:
        """Leave out an account's cursor that the page before had: the store need not look."""
        cursor = changes.account_cursor
        if cursor is None or cursor != self._account_cursor:
            self._account_cursor = cursor
            return changes
        return replace(changes, account_cursor=None)


def _differs(check: FolderCheck, result: PageResult) -> bool:
    return result.stored_count is not None and result.stored_count != check.remote_count


async def _sha256(message: FetchedMessage) -> bytes | None:
    if message.raw is None:
        return None
    if len(message.raw) <= HASH_INLINE_BYTES:
        return hashlib.sha256(message.raw).digest()
    digest = await anyio.to_thread.run_sync(hashlib.sha256, message.raw)
    return digest.digest()
