"""Makes messages of the items of a page: asks for what it lacks, in as few requests as can be.

With raw mail kept, a message is its bytes, which Graph generates (`$value`); without, it is the
page's JSON and the list of its attachments. One message that cannot be had holds up no other.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from emailsync.domain.errors import SyncError, Throttled
from emailsync.domain.folders import FolderId
from emailsync.domain.mail import Attachment
from emailsync.domain.pages import (
    MAX_PAGE_BYTES,
    MAX_PAGE_MESSAGES,
    FetchedMessage,
    FetchedPage,
    PageChanges,
    Placement,
    Unfetchable,
)
from emailsync.providers.graph.addressing import segment, target
from emailsync.providers.graph.batch import Part, get_batched
from emailsync.providers.graph.client import GraphClient, Result
from emailsync.providers.graph.items import (
    ATTACHMENT,
    CONTENT,
    ENVELOPE,
    Item,
    attachments_of,
    has_content,
    has_envelope,
    message_of,
    select,
    wants_attachments,
)
from emailsync.providers.graph.refusals import ItemGone, RequestRefused, concerns_one
from emailsync.providers.http_messages import AnswerTooLarge

GROUP: Final = 10  #: messages whose bytes are asked for together
SMALL_BYTES: Final = 2 * 1024 * 1024  #: what a group may hold of each; larger ones come one by one
LANE_PATIENCE_S: Final = 30.0  #: a message of 50 MiB takes so long at 14 Mbit/s
ATTACHMENTS_PAGE: Final = 250
REFUSED_ARE_ALL: Final = 5
"""Messages refused without one that was given: then the server is at fault, not the messages."""
TOO_LARGE: Final = "larger than store.max_message_bytes: its bytes were not fetched"

Ask = Callable[[Sequence[str]], Awaitable[Sequence[Result]]]
Where = Callable[[Item], FolderId]


@dataclass(slots=True)
class _Group:
    """Messages that are fetched together; each ends up fetched, refused, or gone and in neither."""

    items: dict[str, Item]
    where: Where
    fetched: dict[str, FetchedMessage] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  #: and why

    def put(
        self,
        remote_id: str,
        *,
        raw: bytes | None = None,
        attachments: Sequence[Attachment] = (),
        problem: str | None = None,
        truncated: bool = False,
    ) -> None:
        """Make the message of what is there of it."""
        item = self.items[remote_id]
        self.fetched[remote_id] = message_of(
            item,
            (Placement(self.where(item)),),
            raw=raw,
            attachments=attachments,
            problem=problem,
            truncated=truncated,
        )

    def drop_failed(self, results: Mapping[str, Result]) -> None:
        """Leave out what is gone, and note what was refused."""
        for remote_id, result in results.items():
            if isinstance(result, SyncError) and not isinstance(result, ItemGone):
                self.refused[remote_id] = result.message

    def refusals(self) -> FetchedPage:
        """Return what was refused as a page."""
        return FetchedPage(
            changes=PageChanges(
                unfetchable=[
                    Unfetchable(
                        remote_id=remote_id,
                        placement=Placement(self.where(self.items[remote_id])),
                        reason=reason,
                    )
                    for remote_id, reason in self.refused.items()
                ]
            )
        )


@dataclass(slots=True)
class ContentFetcher:
    """Fetches messages for one session.

    A message over `SMALL_BYTES` is fetched alone, and only one such message is under way in the
    whole daemon: `large_lane` is shared by all sessions and bounds their memory together.
    """

    client: GraphClient
    keep_raw: bool
    max_message_bytes: int
    large_lane: anyio.Semaphore

    @property
    def selection(self) -> str:
        """The properties that a page should have of each message."""
        return select(ENVELOPE if self.keep_raw else CONTENT)

    async def pages(
        self, items: Sequence[Item], where: Where, *, last_resort: bool = False
    ) -> AsyncGenerator[tuple[FetchedPage, bool]]:
        """Yield these messages as pages, each with whether it is the last of them.

        They come in the order given; what is gone meanwhile is left out, and so there may be none.

        Args:
            items: as a page tells of them, perhaps in part.
            where: the folder that an item lies in.
            last_resort: of a message that was quarantined, take what can be had.
        """
        size = GROUP if self.keep_raw else MAX_PAGE_MESSAGES
        filling: list[FetchedMessage] = []
        filled = 0
        failure: SyncError | None = None
        for start in range(0, len(items), size):
            part = {item["id"]: item for item in items[start : start + size]}
            try:
                group = await self._fetch(_Group(part, where), last_resort=last_resort)
            except SyncError as error:
                failure = error  # what came before is not fetched again
                break
            if group.refused:
                yield group.refusals(), False
            for message in group.fetched.values():
                if (
                    len(filling) == MAX_PAGE_MESSAGES
                    or filled + message.size_bytes > MAX_PAGE_BYTES
                ):
                    yield FetchedPage(messages=filling), False
                    filling, filled = [], 0
                filling.append(message)
                filled += message.size_bytes
        if filling:
            yield FetchedPage(messages=filling), failure is None
        if failure:
            raise failure

    async def get_items(self, remote_ids: Sequence[str], names: Sequence[str]) -> Sequence[Result]:
        """Get properties of messages, one request each: one that is gone would end a batch."""
        options = {"$select": select(names)}
        return await self.client.get_each([self._message(at, options=options) for at in remote_ids])

    async def _fetch(self, group: _Group, *, last_resort: bool) -> _Group:
        is_complete = has_envelope if self.keep_raw else has_content
        await self._complete(group, is_complete)
        there = [at for at, item in group.items.items() if is_complete(item)]
        if self.keep_raw:
            await self._fetch_bytes(group, there, last_resort=last_resort)
        else:
            await self._make_of_json(group, there, last_resort=last_resort)
        return group

    async def _complete(self, group: _Group, is_complete: Callable[[Item], bool]) -> None:
        """Get the messages that the page told of in part; drop what is not to be had."""
        names = CONTENT if is_complete is has_content else ENVELOPE
        options = {"$select": select(names)}

        async def ask(remote_ids: Sequence[str]) -> Sequence[Result]:
            parts = [Part(self._message(at, options=options)) for at in remote_ids]
            return await get_batched(self.client, parts)

        lacking = [at for at, item in group.items.items() if not is_complete(item)]
        results = await self._insist(ask, lacking)
        group.drop_failed(results)
        for remote_id, result in results.items():
            if isinstance(result, SyncError):
                continue
            told = result.json()
            if "id" in told:  # what is left out of it as well is not to be had
                group.items[remote_id] = dict.fromkeys(names) | told | {"id": remote_id}
            else:
                group.refused[remote_id] = "Microsoft Graph answered without the message"

    async def _make_of_json(
        self,
        group: _Group,
        remote_ids: Sequence[str],
        *,
        last_resort: bool,
        problem: str | None = None,
        truncated: bool = False,
    ) -> None:
        """Make messages of complete items: their attachments are all that is missing."""
        options = {"$select": select(ATTACHMENT)}

        async def ask(wanting: Sequence[str]) -> Sequence[Result]:
            parts = [
                Part(self._message(at, "/attachments", options=options), ATTACHMENTS_PAGE)
                for at in wanting
            ]
            return await get_batched(self.client, parts)

        wanting = [at for at in remote_ids if wants_attachments(group.items[at])]
        results = await self._insist(ask, wanting)
        for remote_id in remote_ids:
            result = results.get(remote_id)
            if isinstance(result, ItemGone):
                continue
            if isinstance(result, SyncError) and not last_resort:
                group.refused[remote_id] = result.message
                continue
            told = problem
            attachments: Sequence[Attachment] = ()
            if isinstance(result, SyncError):
                told = f"no list of attachments: {result.message}"
            elif result is not None:
                attachments = attachments_of(result.json().get("value"))
            group.put(remote_id, attachments=attachments, problem=told, truncated=truncated)

    async def _fetch_bytes(
        self, group: _Group, remote_ids: Sequence[str], *, last_resort: bool
    ) -> None:
        """Make messages of their bytes; of what cannot be had as bytes, make them of JSON."""
        small_bytes = min(SMALL_BYTES, self.max_message_bytes)

        async def ask(remote_ids: Sequence[str]) -> Sequence[Result]:
            targets = [self._message(at, "/$value") for at in remote_ids]
            return await self.client.get_each(targets, max_bytes=small_bytes)

        results = dict(await self._insist(ask, remote_ids))
        for remote_id, result in results.items():
            if isinstance(result, AnswerTooLarge) and small_bytes < self.max_message_bytes:
                results[remote_id] = await self._large(remote_id)
        for remote_id, result in results.items():
            if not isinstance(result, SyncError):
                group.put(remote_id, raw=result.body)
            elif isinstance(result, AnswerTooLarge):
                await self._without_bytes(group, remote_id, TOO_LARGE, truncated=True)
            elif isinstance(result, ItemGone):
                pass
            elif last_resort or isinstance(result, RequestRefused):
                await self._without_bytes(group, remote_id, f"no bytes: {result.message}")
            else:  # it may be better tomorrow
                group.refused[remote_id] = result.message

    async def _without_bytes(
        self, group: _Group, remote_id: str, problem: str, *, truncated: bool = False
    ) -> None:
        alone = _Group({remote_id: group.items[remote_id]}, group.where)
        await self._complete(alone, has_content)
        there = [at for at, item in alone.items.items() if has_content(item)]
        await self._make_of_json(
            alone, there, last_resort=True, problem=problem, truncated=truncated
        )
        group.fetched |= alone.fetched
        group.refused |= alone.refused

    async def _large(self, remote_id: str) -> Result:
        """Get the bytes of a large message when no other is under way.

        Raises:
            Throttled: others are under way for long: come back later.
        """
        try:
            with anyio.fail_after(LANE_PATIENCE_S):
                await self.large_lane.acquire()
        except TimeoutError:
            raise Throttled("waiting for other large messages to be fetched") from None
        try:
            wanted = self._message(remote_id, "/$value")
            return await self.client.get(wanted, max_bytes=self.max_message_bytes)
        except SyncError as error:
            if not concerns_one(error):
                raise
            return error
        finally:
            self.large_lane.release()

    async def _insist(self, ask: Ask, remote_ids: Sequence[str]) -> Mapping[str, Result]:
        """Ask for these, and again for those that failed: then it is the messages, or the server.

        Raises:
            SyncError: it is the server.
        """
        if not remote_ids:
            return {}
        results = dict(zip(remote_ids, await ask(remote_ids), strict=True))
        again = list(_failures(results))
        if not again:
            return results
        results |= dict(zip(again, await ask(again), strict=True))
        failures = _failures(results)
        if len(failures) == len(results) >= REFUSED_ARE_ALL:
            raise next(iter(failures.values()))
        if failures:
            await self.client.get(
                target(f"{self.client.root}/mailFolders/inbox", {"$select": "id"})
            )
        return results

    def _message(
        self, remote_id: str, below: str = "", *, options: Mapping[str, str] | None = None
    ) -> str:
        return target(f"{self.client.root}/messages/{segment(remote_id)}{below}", options)


def _failures(results: Mapping[str, Result]) -> dict[str, SyncError]:
    """Return what failed and may not have to.

    Raises:
        SyncError: a failure that concerns more than one message.
    """
    failures = {at: error for at, error in results.items() if isinstance(error, SyncError)}
    for error in failures.values():
        if not concerns_one(error):
            raise error
    return {
        at: error
        for at, error in failures.items()
        if not isinstance(error, ItemGone | AnswerTooLarge)
    }
