"""Takes a session's pages through parsing into the store, which commits them in their order.

A page without messages is applied before the session goes on, so what a session reads of the
store after yielding one is complete; pages with messages overlap: while Postgres commits one, the
next is inserted, the one after it is parsed, and another is on the wire.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import anyio
import anyio.abc
import anyio.to_thread

from emailsync.domain.accounts import Lease
from emailsync.domain.folders import AccountCursor, FolderId
from emailsync.domain.mail import ParsedMessage
from emailsync.domain.pages import (
    FetchedMessage,
    FetchedPage,
    PageChanges,
    ReadyMessage,
    ReadyPage,
)
from emailsync.ports import MailStore
from emailsync.sync.progress import Progress

HASH_INLINE_BYTES: Final = 64 * 1024  #: below, the way to a thread and back takes longer

WRITERS: Final = 2  #: one inserts while the other commits; a third found nothing left to do


class PageParser(Protocol):
    """Turns raw messages into what they say. Never raises for a message's sake."""

    async def parse_page(
        self, raws: Sequence[bytes], *, careful: bool = False
    ) -> Sequence[ParsedMessage]:
        """Return one parsed message a raw one, in order."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A page on its way into the store, and its `Turn`."""

    page: ReadyPage
    before: anyio.Event | None  #: set when the page before is applied
    applied: anyio.Event = field(default_factory=anyio.Event)

    @property
    def has_come(self) -> bool:
        return self.before is None or self.before.is_set()

    async def wait(self) -> None:
        if self.before is not None:
            await self.before.wait()


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
        self.mismatched: set[FolderId] = set()  #: folders whose counts differ

    async def run(self, pages: AsyncGenerator[FetchedPage]) -> bool:
        """Apply the pages until they end or the quantum is over; return whether there are more.

        Raises what the session or the store raises. What was applied stays.
        """
        more = False
        failure: list[Exception] = []
        send, receive = anyio.create_memory_object_stream[_Step](0)
        async with anyio.create_task_group() as group, aclosing(pages) as source:
            for _ in range(WRITERS):
                group.start_soon(
                    self._apply_all,
                    receive.clone(),
                    group.cancel_scope,
                    failure,
                    name="apply pages",
                )
            receive.close()
            async with send:
                more = await self._feed(source, send, failure)
        if failure:
            try:
                raise failure[0]
            finally:
                failure.clear()  # the frames that they went through hold the list: a circle
        return more

    async def _feed(
        self,
        pages: AsyncGenerator[FetchedPage],
        send: anyio.abc.ObjectSendStream[_Step],
        failure: list[Exception],
    ) -> bool:
        before: anyio.Event | None = None
        names: set[str] = set()
        try:
            async for page in pages:
                step = _Step(await self._ready(page), before)
                names_before, names = names, {message.remote_id for message in page.messages}
                if before is not None and not names.isdisjoint(names_before):
                    await before.wait()  # inserting the same, each would wait for the other
                await send.send(step)
                if not page.messages:
                    await step.applied.wait()
                before = step.applied
                if self._progress.quantum_is_over():
                    return True
        except asyncio.CancelledError as cancelled:
            _forget_frames(cancelled)
            raise
        except Exception as error:  # noqa: BLE001 - carried past the task group, which would wrap it
            failure.append(error)
        return False

    async def _apply_all(
        self,
        receive: anyio.abc.ObjectReceiveStream[_Step],
        run: anyio.CancelScope,
        failure: list[Exception],
    ) -> None:
        try:
            async with receive:
                async for step in receive:
                    try:
                        await self._apply(step)
                    except Exception as error:  # noqa: BLE001 - as above
                        await step.wait()  # the page before may still be applied
                        failure.insert(0, error)
                        run.cancel()
                    finally:
                        del step  # not held until the next one comes
        except asyncio.CancelledError as cancelled:
            _forget_frames(cancelled)
            raise

    async def _apply(self, step: _Step) -> None:
        result = await self._store.apply(self._lease, step.page, step)
        self._progress.add(result, step.page)
        check = step.page.changes.check
        if check is not None and result.stored_count is not None:
            is_equal = result.stored_count == check.remote_count
            (self.mismatched.discard if is_equal else self.mismatched.add)(check.folder_id)
        step.applied.set()

    async def _ready(self, page: FetchedPage) -> ReadyPage:
        parsed, digests = await self._read(page.messages)
        return ReadyPage(
            messages=[
                ReadyMessage(fetched=message, parsed=text, raw_sha256=digest)
                for message, text, digest in zip(page.messages, parsed, digests, strict=True)
            ],
            changes=self._with_news_only(page.changes),
        )

    async def _read(
        self, messages: Sequence[FetchedMessage]
    ) -> tuple[Sequence[ParsedMessage], Sequence[bytes | None]]:
        """Parse the messages, and hash them beside it: hashing works without the GIL."""
        if sum(len(message.raw or b"") for message in messages) <= HASH_INLINE_BYTES:
            return await self._parsed(messages), _digests(messages)
        async with asyncio.TaskGroup() as group:
            hashing = group.create_task(anyio.to_thread.run_sync(_digests, messages))
            parsed = await self._parsed(messages)
        return parsed, hashing.result()

    async def _parsed(self, messages: Sequence[FetchedMessage]) -> Sequence[ParsedMessage]:
        raws = [message.raw or b"" for message in messages if message.parsed is None]
        parsed = iter(await self._parser.parse_page(raws, careful=self._careful) if raws else ())
        return [message.parsed or next(parsed) for message in messages]

    def _with_news_only(self, changes: PageChanges) -> PageChanges:
        """Leave out an account's cursor that the page before had: the store need not look."""
        cursor = changes.account_cursor
        if cursor is None or cursor != self._account_cursor:
            self._account_cursor = cursor
            return changes
        return replace(changes, account_cursor=None)


def _forget_frames(cancelled: asyncio.CancelledError) -> None:
    # Task groups keep it in a circle with the frames that it went through, and these hold pages.
    error: BaseException | None = cancelled
    while error is not None:
        error.__traceback__ = None
        error = error.__context__  # left as it is: anyio knows its cancellations by it


def _digests(messages: Sequence[FetchedMessage]) -> Sequence[bytes | None]:
    raws = (message.raw for message in messages)
    return [None if raw is None else hashlib.sha256(raw).digest() for raw in raws]
