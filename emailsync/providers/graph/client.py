"""One mailbox of Microsoft Graph over HTTP: every request carries what all of them must carry.

Above all `Prefer: IdType="ImmutableId"`: without it, on a single request, a message has another id
and seems to be another message (learn.microsoft.com/graph/outlook-immutable-id).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import orjson

from emailsync.domain.errors import SyncError, Unreachable
from emailsync.providers.account_client import AccountClient
from emailsync.providers.graph.addressing import VERSION, LinkCutter
from emailsync.providers.graph.refusals import concerns_one
from emailsync.providers.http_client import MAX_ANSWER_BYTES
from emailsync.providers.http_messages import Answer, ApiRequest

Result = Answer | SyncError


def prefer(page_size: int | None = None) -> str:
    """Return the Prefer header of a request.

    HTML comes as it was sent: whoever shows it has to clean it, as with any other provider.
    """
    wishes = ['IdType="ImmutableId"', "outlook.allow-unsafe-html"]
    if page_size is not None:
        wishes.append(f"odata.maxpagesize={page_size}")
    return ", ".join(wishes)


@dataclass(slots=True)
class GraphClient:
    """Sends requests for one mailbox; owned by one session."""

    account: AccountClient
    links: LinkCutter
    root: str  #: of the mailbox: `/me` or `/users/{id}`

    async def get(
        self,
        target: str,
        *,
        page_size: int | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """Get what lies at a target.

        Raises:
            ItemGone, CursorExpired: see refusals.py.
            SyncError: any other refusal or failure.
        """
        request = ApiRequest("GET", VERSION + target, headers={"Prefer": prefer(page_size)})
        answer = await self.account.send(request, cost=1, max_bytes=max_bytes)
        if "html" in answer.headers.get("content-type", "").lower():
            raise Unreachable("something on the way to Microsoft Graph answered with a web page")
        return answer

    async def get_each(
        self,
        targets: Sequence[str],
        *,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Sequence[Result]:
        """Get several targets, as many at once as the mailbox may have; what failed, as its error.

        Raises:
            SyncError: what concerns more than one item: throttling, quota, credentials.
        """
        results: list[Result] = [Unreachable("not asked")] * len(targets)

        async def get_one(at: int, wanted: str) -> None:
            try:
                results[at] = await self.get(wanted, max_bytes=max_bytes)
            except SyncError as error:
                results[at] = error

        async with anyio.create_task_group() as group:
            for at, wanted in enumerate(targets):
                group.start_soon(get_one, at, wanted, name="get from Microsoft Graph")
        for result in results:
            if isinstance(result, SyncError) and not concerns_one(result):
                raise result
        return results

    async def post_batch(self, requests: Sequence[Mapping[str, Any]], *, lanes: int) -> Answer:
        """Send a `$batch`, whose parts carry their own headers."""
        request = ApiRequest(
            "POST",
            f"{VERSION}/$batch",
            headers={"Prefer": prefer(), "Content-Type": "application/json"},
            content=orjson.dumps({"requests": requests}),
        )
        return await self.account.send(request, cost=len(requests), lanes=lanes)
