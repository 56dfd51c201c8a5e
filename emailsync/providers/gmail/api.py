"""The Gmail API's methods that a sync needs, one account's, each at its price.

Knows URLs and parameters; what the answers mean for the mailbox is its callers' business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from emailsync.loop_rounds import in_pieces
from emailsync.providers.account_client import AccountClient
from emailsync.providers.gmail.batch import batch_answers, batch_request
from emailsync.providers.gmail.prices import Prices
from emailsync.providers.gmail.refusals import refuses_parameter
from emailsync.providers.gmail.values import (
    HistoryPage,
    Label,
    MessageList,
    address_of,
    history_id_of,
    history_page_of,
    labels_of,
    message_list_of,
    total_of,
)
from emailsync.providers.http_messages import Answer, ApiRequest

USER: Final = "/gmail/v1/users/me"
PAGE_ITEMS: Final = "500"  #: the most that a list gives at a time
WORTH_A_REQUEST: Final = 10  #: messages; for fewer there are a wait and a page each otherwise
BATCH_PARTS: Final = 50  #: more than that triggers rate limits (guides/batch)
MAX_BATCH_BYTES: Final = 16 * 1024 * 1024  #: of an answer; 50 messages are 2 MB on average


@dataclass(frozen=True, slots=True)
class GmailApi:
    """One mailbox's methods. Each raises what AccountClient.send raises."""

    client: AccountClient
    prices: Prices

    @property
    def most_messages(self) -> int:
        """How many messages one batch may get: by Gmail's advice and by what is left of our quota.

        Where that is too little to be worth a request, a whole batch is waited for. One price is
        kept for the calls between: a sync that is resumed begins with some.
        """
        price, quota = self.prices.get_message, self.client.quota
        whole = max(1, min(BATCH_PARTS, quota.largest // price - 1))
        affordable = quota.left // price
        return min(whole, affordable) if affordable >= WORTH_A_REQUEST else whole

    async def history_id(self) -> str:
        """Return where the mailbox's history stands now."""
        answer = await self._get("/profile", (), self.prices.get_profile)
        return history_id_of(answer.json())

    async def addresses(self) -> Sequence[str]:
        """Return the address of the mailbox, the only one that its profile tells."""
        answer = await self._get("/profile", (), self.prices.get_profile)
        return [address_of(answer.json())]

    async def labels(self) -> Sequence[Label]:
        """Return all labels."""
        answer = await self._get("/labels", (), self.prices.list_labels)
        return await in_pieces(labels_of(answer.json()))

    async def totals(self, label_ids: Sequence[str]) -> Mapping[str, int]:
        """Return how many messages each label has; labels that are gone are left out."""
        totals: dict[str, int] = {}
        for start in range(0, len(label_ids), BATCH_PARTS):
            some = label_ids[start : start + BATCH_PARTS]
            paths = [f"{USER}/labels/{quote(label, safe='')}" for label in some]
            answers = await self._batch(paths, self.prices.get_label)
            for number, label in enumerate(some):
                answer = answers.get(number)
                if answer is not None and answer.status == HTTPStatus.OK:
                    totals[label] = total_of(answer.json())
        return totals

    async def messages(self, label_ids: Sequence[str], page: str) -> MessageList | None:
        """Return one page of the ids of the messages that have all these labels, newest first.

        None: Gmail does not take one of the parameters: the page's token, or a label, is unknown.
        """
        params = [("maxResults", PAGE_ITEMS), ("includeSpamTrash", "true")]
        params += [("labelIds", label) for label in label_ids]
        if page:
            params.append(("pageToken", page))
        allow = (HTTPStatus.BAD_REQUEST,) if page or label_ids else ()
        answer = await self._get("/messages", params, self.prices.list_messages, allow)
        if answer.status != HTTPStatus.BAD_REQUEST:
            return message_list_of(answer.json())
        if not refuses_parameter(answer) and (error := self.client.judge(answer)):
            raise error
        return None

    async def large_messages(self, megabytes: int) -> Sequence[str]:
        """Return the ids of up to 500 messages that are larger, the newest; none without search."""
        params = (
            ("maxResults", PAGE_ITEMS),
            ("includeSpamTrash", "true"),
            ("q", f"larger:{megabytes}M"),
        )
        allow = (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN)
        answer = await self._get("/messages", params, self.prices.list_messages, allow)
        return message_list_of(answer.json()).ids if answer.status == HTTPStatus.OK else ()

    async def history(self, since: str, page: str) -> HistoryPage | None:
        """Return one page of what happened since a history id; None: that is too long ago."""
        params = [("startHistoryId", since), ("maxResults", PAGE_ITEMS)]
        if page:
            params.append(("pageToken", page))
        allow = (HTTPStatus.NOT_FOUND,)
        answer = await self._get("/history", params, self.prices.list_history, allow)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        return history_page_of(answer.json())

    async def contents(self, message_ids: Sequence[str]) -> Mapping[str, Answer]:
        """Return Gmail's answers for these messages, with their bytes; one may be missing.

        Raises:
            AnswerTooLarge: all of them together are too large: ask for fewer.
        """
        return await self._of_messages(message_ids, "format=raw")

    async def states(self, message_ids: Sequence[str]) -> Mapping[str, Answer]:
        """Return Gmail's answers for these messages, with their labels only."""
        return await self._of_messages(message_ids, "format=minimal")

    async def content(self, message_id: str, *, max_bytes: int) -> Answer:
        """Return the answer for one message, which may be a large one.

        Raises:
            AnswerTooLarge: the answer is larger than `max_bytes`.
        """
        return await self._message(message_id, "raw", max_bytes)

    async def headers(self, message_id: str) -> Answer:
        """Return the answer for one message without its body."""
        return await self._message(message_id, "metadata", MAX_BATCH_BYTES)

    async def _message(self, message_id: str, form: str, max_bytes: int) -> Answer:
        path = f"{USER}/messages/{quote(message_id, safe='')}"
        request = ApiRequest("GET", path, (("format", form),))
        return await self.client.send(
            request,
            cost=self.prices.get_message,
            allow=range(HTTPStatus.BAD_REQUEST, 600),
            max_bytes=max_bytes,
        )

    async def _of_messages(self, message_ids: Sequence[str], query: str) -> Mapping[str, Answer]:
        paths = [f"{USER}/messages/{quote(name, safe='')}?{query}" for name in message_ids]
        answers = await self._batch(paths, self.prices.get_message)
        return {name: answers[n] for n, name in enumerate(message_ids) if n in answers}

    async def _batch(self, paths: Sequence[str], price: int) -> Mapping[int, Answer]:
        answer = await self.client.send(
            batch_request(paths), cost=price * len(paths), max_bytes=MAX_BATCH_BYTES
        )
        return batch_answers(answer)

    async def _get(
        self,
        path: str,
        params: Sequence[tuple[str, str]],
        cost: int,
        allow: Sequence[int] = (),
    ) -> Answer:
        return await self.client.send(
            ApiRequest("GET", USER + path, params), cost=cost, allow=allow
        )
