"""Fetches messages in batches: how many at a time, which of them again, and which never.

A batch is as large as Gmail, our quota and the memory allow; what a part of it answers concerns
its message alone, unless it says that nothing more is to be asked now.
"""

from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import anyio

from emailsync.domain.errors import Retryable, ServerRefused, SyncError, Throttled
from emailsync.providers.gmail.api import BATCH_PARTS, GmailApi
from emailsync.providers.gmail.refusals import TooManyAtOnce, gmail_refusal
from emailsync.providers.gmail.values import (
    GmailMessage,
    headers_only_of,
    labelled_message_of,
    whole_message_of,
)
from emailsync.providers.http_messages import Answer, AnswerTooLarge

TRIES: Final = 3  #: of one message in one session, if it alone fails
REFUSED_ARE_ALL: Final = 5
"""Messages refused without one that was given: then Gmail is at fault, not the messages."""
GROWTH: Final = 5  #: more messages in a batch, once one went through as a whole
AIM_BYTES: Final = 12 * 1024 * 1024  #: of a batch's answer: one that is too large was in vain
LARGE_MEGABYTES: Final = 8  #: messages above are fetched alone
BASE64_SHARE: Final = 4 / 3
SLACK_BYTES: Final = 65_536  #: of an answer, for all but the message
GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})

Ask = Callable[[Sequence[str]], Awaitable[Mapping[str, Answer]]]
Read = Callable[[Mapping[str, Any]], GmailMessage]


@dataclass(slots=True)
class Arrival:
    """What one batch brought."""

    messages: list[GmailMessage] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)  #: deleted since they were listed
    refused: dict[str, str] = field(default_factory=dict)  #: never to be had, and why


@dataclass(slots=True)
class _Sorted:
    """The answers of one batch, by what follows from them."""

    arrival: Arrival = field(default_factory=Arrival)
    failed: dict[str, Retryable] = field(default_factory=dict)  #: for reasons of their own
    again: list[str] = field(default_factory=list)  #: to be asked for once more
    crowded: TooManyAtOnce | None = None  #: some were not let in beside the others
    unknown_token: SyncError | None = None  #: some were refused for the token
    stop: SyncError | None = None  #: nothing more is to be asked for now


@dataclass(slots=True)
class MessageFetcher:
    """Fetches messages of one mailbox; owned by one session, used by one of its tasks at a time.

    A message that does not fit into a batch is fetched alone, and only one such message is on the
    wire in the whole daemon: `large_lane` is shared by all sessions.
    """

    api: GmailApi
    max_message_bytes: int
    large_lane: anyio.Semaphore
    lane_patience_s: float = 30.0
    _at_once: int = field(default=BATCH_PARTS, init=False)  #: as many are let in side by side
    _mean_bytes: float = field(default=1.0, init=False)  #: of a message's answer, lately
    _large: frozenset[str] | None = field(default=None, init=False)  #: None: not asked for yet

    def whole(self, ids: Sequence[str]) -> AsyncGenerator[Arrival]:
        """Yield these messages with their bytes, about in this order.

        Raises:
            Retryable: none could be had, so it is not the messages' fault.
            SyncError: as AccountClient.send; what came before was yielded.
        """
        return self._fetch(ids, self._contents, self._read_whole)

    def states(self, ids: Sequence[str]) -> AsyncGenerator[Arrival]:
        """Yield these messages with their labels only. Raises as `whole`."""
        return self._fetch(ids, self.api.states, labelled_message_of)

    async def _fetch(self, ids: Sequence[str], ask: Ask, read: Read) -> AsyncGenerator[Arrival]:
        todo = deque(ids)
        tries: Counter[str] = Counter()
        given = refused = 0
        has_new_token = False
        while todo:
            batch = self._next_batch(todo)
            try:
                found = self._sorted(batch, await ask(batch), read)
            except AnswerTooLarge:
                await self._beware_of_large(len(batch))
                todo.extendleft(reversed(batch))
                continue
            self._adapt(found, len(batch))
            todo.extendleft(reversed(self._again(found, tries)))
            given += len(found.arrival.messages) + len(found.arrival.gone)
            refused += len(found.arrival.refused)
            if not given and refused >= min(len(ids), REFUSED_ARE_ALL) > 1:
                raise next(iter(found.failed.values()))
            yield found.arrival
            stop = found.stop or (found.unknown_token if has_new_token else None)
            if stop is not None:
                raise stop
            if found.unknown_token is not None:
                await self.api.history_id()  # a plain request renews the token, or is refused too
                has_new_token = True

    def _next_batch(self, todo: deque[str]) -> list[str]:
        """Take the next messages: as many as fit; a large one alone."""
        fitting = int(AIM_BYTES / self._mean_bytes)
        most = max(1, min(self.api.most_messages, self._at_once, fitting))
        batch = [todo.popleft()]
        large = self._large or ()
        while todo and len(batch) < most and batch[0] not in large and todo[0] not in large:
            batch.append(todo.popleft())
        return batch

    async def _contents(self, batch: Sequence[str]) -> Mapping[str, Answer]:
        if len(batch) == 1 and self._large is not None:
            answers: Mapping[str, Answer] = {batch[0]: await self._alone(batch[0])}
            if batch[0] in self._large:  # which says nothing about the others
                return answers
        else:
            answers = await self.api.contents(batch)
        size = sum(len(answer.body) for answer in answers.values()) / len(batch)
        self._mean_bytes = max(1.0, (self._mean_bytes + size) / 2)
        return answers

    async def _beware_of_large(self, parts: int) -> None:
        """Learn from an answer that was too large: which messages are, or to ask for fewer."""
        if self._large is None:
            self._large = frozenset(await self.api.large_messages(LARGE_MEGABYTES))
        self._mean_bytes = 2 * AIM_BYTES / parts

    async def _alone(self, message_id: str) -> Answer:
        """Get one message, in the lane of large ones; without its body where it is too large.

        Raises:
            Throttled: other accounts' large messages take too long; ours comes later.
        """
        holds_lane = False
        with anyio.move_on_after(self.lane_patience_s):
            await self.large_lane.acquire()
            holds_lane = True
        if not holds_lane:
            raise Throttled("a large message has to wait for that of another account")
        try:
            limit = int(self.max_message_bytes * BASE64_SHARE) + SLACK_BYTES
            return await self.api.content(message_id, max_bytes=limit)
        except AnswerTooLarge:
            return await self.api.headers(message_id)
        finally:
            self.large_lane.release()

    def _read_whole(self, answer: Mapping[str, Any]) -> GmailMessage:
        if "raw" not in answer and "payload" in answer:
            return headers_only_of(answer)
        return whole_message_of(answer).cut_to(self.max_message_bytes)

    def _sorted(self, batch: Sequence[str], answers: Mapping[str, Answer], read: Read) -> _Sorted:
        found = _Sorted()
        for message_id in batch:
            answer = answers.get(message_id)
            if answer is None:
                found.failed[message_id] = ServerRefused("Gmail left it unanswered")
            elif answer.status == HTTPStatus.OK:
                try:
                    found.arrival.messages.append(_asked_for(message_id, read(answer.json())))
                except ServerRefused as error:
                    found.failed[message_id] = error
            else:
                self._add_refused(found, message_id, answer)
        return found

    def _add_refused(self, found: _Sorted, message_id: str, answer: Answer) -> None:
        if answer.status in GONE:
            found.arrival.gone.append(message_id)
            return
        error = gmail_refusal(answer)
        if isinstance(error, TooManyAtOnce):
            found.crowded = error
            found.again.append(message_id)
            return
        error = self.api.client.judge(answer)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            found.unknown_token = error
            found.again.append(message_id)
        elif isinstance(error, Retryable):
            found.failed[message_id] = error
        else:
            found.stop = error

    def _adapt(self, found: _Sorted, parts: int) -> None:
        """Ask for fewer at once where Gmail did not let all of them in, for more where it did."""
        if found.crowded is not None:
            self._at_once = max(1, min(self._at_once, parts) // 2)
            if len(found.again) == parts:
                found.stop = found.stop or found.crowded
        elif not found.failed:
            self._at_once = min(BATCH_PARTS, self._at_once + GROWTH)

    def _again(self, found: _Sorted, tries: Counter[str]) -> list[str]:
        """Return what is to be asked for again; what failed too often is refused from now on."""
        tries.update(list(found.failed))
        for message_id, error in found.failed.items():
            if tries[message_id] >= TRIES:
                found.arrival.refused[message_id] = error.message
            else:
                found.again.append(message_id)
        return found.again


def _asked_for(message_id: str, message: GmailMessage) -> GmailMessage:
    """Return the message if it is this one: another in its place would hide that it lacks."""
    if message.id != message_id:
        raise ServerRefused("Gmail gave another message than the one asked for")
    return message
